/* SPDX-License-Identifier: Apache-2.0 */
/* See replay.h. */
#include "hub/replay.h"

#include "core/buf.h"
#include "hub/hub.h"
#include <stdlib.h>

#define AT_WORK_MAX 64
#define PORTION_MESSAGES 512
#define PORTION_BYTES (256 * 1024)

void sse_replay_init(sse_hub_t *hub)
{
    hub->replayer = (sse_replayer_t){NULL, &hub->replayer.head, 0};
}

static sse_replay_t *make_answer(const sse_notice_t *notice, apr_status_t status,
                                 const sse_history_t *h)
{
    size_t n = h ? h->n_messages : 0;
    sse_replay_t *answer = sse_calloc(1, sizeof *answer + n * sizeof(sse_message_t *));
    answer->stream = notice->stream;
    answer->status = status;
    if (!h)
        return answer;
    answer->more = h->more;
    answer->pos = h->pos.seq;
    answer->n_messages = n;
    for (size_t i = 0; i < n; i++)
        answer->messages[i] = sse_message_ref(h->messages[i]);
    if (!h->n_gaps)
        return answer;
    answer->gap_end = h->gap_end;
    answer->gap_events = sse_calloc(h->n_gaps, sizeof(char *));
    for (size_t i = 0; i < h->n_gaps; i++) {
        sse_channel_t c = notice->ranges[h->gaps[i]].channel;
        if (c.kind == SSE_CHANNEL_EVENT)
            answer->gap_events[answer->n_gap_events++] = sse_strndup(c.name.p, c.name.n);
        else
            answer->gap_directed = true;
    }
    return answer;
}

static void start_next(sse_hub_t *hub);

static void on_history(void *baton, apr_status_t status, const sse_history_t *history)
{
    sse_notice_t *notice = baton;
    sse_hub_t *hub = notice->keeper;
    hub->replayer.at_work--;
    if (hub->state == SSE_HUB_RUNNING)
        sse_reactor_history_post(
            notice->reactor, make_answer(notice, status, status == APR_SUCCESS ? history : NULL));
    sse_notice_free(notice);
    start_next(hub);
}

static void start_next(sse_hub_t *hub)
{
    sse_replayer_t *rp = &hub->replayer;
    while (rp->head && rp->at_work < AT_WORK_MAX && hub->state == SSE_HUB_RUNNING) {
        sse_notice_t *notice = (sse_notice_t *)rp->head;
        rp->head = notice->letter.next;
        if (!rp->head)
            rp->tail = &rp->head;
        rp->at_work++;
        notice->keeper = hub;
        hub->broker->driver->history(hub->broker, sse_str(notice->realm), notice->ranges,
                                     notice->n_ranges, PORTION_MESSAGES, PORTION_BYTES, on_history,
                                     notice);
    }
}

void sse_replay_ask(sse_hub_t *hub, sse_notice_t *notice)
{
    sse_replayer_t *rp = &hub->replayer;
    notice->letter.next = NULL;
    *rp->tail = &notice->letter;
    rp->tail = &notice->letter.next;
    start_next(hub);
}

void sse_replay_clear(sse_hub_t *hub)
{
    sse_replayer_t *rp = &hub->replayer;
    while (rp->head) {
        sse_notice_t *notice = (sse_notice_t *)rp->head;
        rp->head = notice->letter.next;
        sse_notice_free(notice);
    }
    rp->tail = &rp->head;
}

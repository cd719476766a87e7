/* SPDX-License-Identifier: Apache-2.0 */
/* What the example driver remembers, all of it in memory: realms with their channels, records,
 * keys, sessions. A call of the contract is a line of fields; carrying it out is a function of the
 * state, the line and the time, so a journal of lines brings the state back. Owned by the driver;
 * control loop. */
#ifndef JOURNAL_STATE_H
#define JOURNAL_STATE_H

#include <broker/broker.h>
#include <core/buf.h>

/* ---- lines: netstrings ---- */

static inline void line_put(sse_buf_t *line, sse_str_t field)
{
    sse_buf_printf(line, "%zu:", field.n);
    sse_buf_str(line, field);
}

static inline void line_put_number(sse_buf_t *line, int64_t n)
{
    sse_buf_t text = {0};
    sse_buf_printf(&text, "%lld", (long long)n);
    line_put(line, sse_buf_slice(&text));
    sse_buf_clear(&text);
}

/* Takes the next field off; empty and *rest unchanged when there is none. */
sse_str_t line_take(sse_str_t *rest);
int64_t line_take_number(sse_str_t *rest);

/* ---- the state ---- */

typedef struct state_t state_t;

typedef struct state_owner_t state_owner_t; /* a user or group that something is known of */

state_t *state_create(const sse_hubconf_t *conf, uint64_t epoch);
void state_free(state_t *s);
/* Upcalls go to the hub from now on; before, while old lines are read, they go nowhere. */
void state_speak(state_t *s, const sse_broker_upcalls_t *up, void *hub);
sse_pos_t state_pos(state_t *s, sse_str_t realm);

/* What a line did. */
typedef struct state_result_t {
    apr_status_t status;
    sse_published_t *published; /* free() it */
    size_t n, bad;
    sse_record_t *record, **groups; /* state_result_clear lets go of them */
} state_result_t;

void state_result_clear(state_result_t *r);

/* Lines that change something; now: UNIX ms. The realm and what follows it are still in `line`. */
void state_publish(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_connect(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_subscribe(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_unsubscribe(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_members_change(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_forget(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_disconnect(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_cursors(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
void state_session_put(state_t *s, sse_str_t line, int64_t now, state_result_t *out);

/* Lines that ask. */
void state_record(state_t *s, sse_str_t line, int64_t now, state_result_t *out);
/* free() messages and gaps of *out; the messages are the state's. */
void state_history(state_t *s, sse_str_t line, int64_t now, sse_history_t *out);
/* Names on malloc, each pointing into the state. */
size_t state_members(state_t *s, sse_str_t line, sse_str_t **out_names);
void state_tracking(state_t *s, sse_str_t line, int64_t now, sse_tracking_t *out);
bool state_session_get(state_t *s, sse_str_t line, int64_t now, sse_str_t *out_user,
                       uint64_t *out_expires);

#endif

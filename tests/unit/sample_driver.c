/* SPDX-License-Identifier: Apache-2.0 */
/* A broker driver as a shared object, as far as test_broker needs one: it proves that the hub's
 * functions are there for it. */
#include "broker/broker.h"
#include "core/log.h"

#include <stdio.h>

static apr_status_t create(const sse_broker_env_t *env, const char *url, sse_broker_t **out_broker,
                           char *problem)
{
    sse_message_t *m = sse_message_create((sse_pos_t){1, 2}, SSE_STR("r"), SSE_STR("e"),
                                          sse_str(url), true, 0, 0, NULL, 0);
    sse_record_t *record = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("u"), 0, 0);
    sse_log(SSE_LOG_DEBUG, "the sample driver is here");
    snprintf(problem, 256, "sample was asked for %.*s", (int)m->data.n, m->data.p);
    sse_record_unref(record);
    sse_message_unref(m);
    return APR_EINVAL;
}

SSE_API extern const sse_broker_driver_t SAMPLE_SYMBOL;
const sse_broker_driver_t SAMPLE_SYMBOL = {
    .abi = SSE_BROKER_ABI + SAMPLE_ABI_OFF, .scheme = "sample", .create = create};

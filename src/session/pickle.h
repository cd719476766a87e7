/* SPDX-License-Identifier: Apache-2.0 */
/* Reads Python pickles without being able to run anything: data opcodes only. What would look up a
 * class, import or call becomes one opaque value. An explicit stack, no recursion; every length is
 * checked before use; stack, memo and number of steps are bounded. No I/O; any thread. Protocols 0
 * to 5. */
#ifndef SSE_PICKLE_H
#define SSE_PICKLE_H

#include "session/sessiondata.h"

#define SSE_PICKLE_STACK_MAX 65536
#define SSE_PICKLE_MEMO_MAX (128 * 1024)
#define SSE_PICKLE_STEPS_MAX (1024 * 1024)
/* Dicts with at least one of the wanted keys: one in an honest session. */
#define SSE_PICKLE_DICTS_MAX 1024

/* The pickle of a dict. Strings in *out point into `in`. APR_EINVAL when it is no well-formed
 * pickle, uses a refused opcode, passes a bound, has bytes after its end, or is something else than
 * a dict. */
apr_status_t sse_pickle_read(sse_str_t in, apr_pool_t *pool, sse_session_data_t *out);

/* The pickle of a float that `in` begins with (the head of Django's cache files), or of None, which
 * gives INFINITY. *out_used is its length. */
apr_status_t sse_pickle_read_float(sse_str_t in, double *out, size_t *out_used);

#endif

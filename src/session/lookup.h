/* SPDX-License-Identifier: Apache-2.0 */
/* One look-up under way, and what each session engine offers to it. A look-up lives on one worker's
 * stack for one request. */
#ifndef SSE_LOOKUP_H
#define SSE_LOOKUP_H

#include "session/session.h"
#include "session/sessiondata.h"

typedef struct sse_lookup_t {
    const sse_session_conf_t *conf;
    const sse_session_request_t *req;
    apr_pool_t *pool;
    const char *detail; /* why it went the way it went; a static text without any secret */
    const sse_session_db_t *db;
    bool db_asked;
} sse_lookup_t;

typedef struct sse_loaded_t {
    sse_session_data_t data;
    int64_t expires; /* UNIX seconds after which the session is dead; 0 = not known */
} sse_loaded_t;

/* An engine's loader: APR_SUCCESS with the session; APR_NOTFOUND when there is none that Django
 * would take (missing, expired, broken, badly signed); any other status when the store could not be
 * asked or answered nonsense. Sets l->detail unless it succeeds. */
typedef apr_status_t sse_engine_load_fn(sse_lookup_t *l, sse_str_t key, sse_loaded_t *out);

sse_engine_load_fn sse_engine_db_load;
sse_engine_load_fn sse_engine_cache_load;
sse_engine_load_fn sse_engine_cached_db_load;
sse_engine_load_fn sse_engine_file_load;
sse_engine_load_fn sse_engine_signed_cookies_load;

/* The text that db, cached_db and file keep: signed, or in the old form where the configuration
 * allows it. APR_NOTFOUND if it is neither. *out_time is the time of signing, 0 for the old form;
 * NULL if nobody asks. */
apr_status_t sse_lookup_decode(sse_lookup_t *l, sse_str_t salt, sse_str_t text,
                               sse_session_data_t *out, int64_t *out_time);

/* The database connection, borrowed at first use; NULL when there is none. */
const sse_session_db_t *sse_lookup_db(sse_lookup_t *l);

/* From a session's dict to a user, as django.contrib.auth.get_user: fills user, groups and `who` of
 * *out. */
void sse_identity_resolve(sse_lookup_t *l, const sse_session_data_t *data, sse_identity_t *out);

/* True for ^[a-z0-9]{8,40}$: the only session keys that Django makes. All others are refused before
 * any store is touched. */
bool sse_session_key_good(sse_str_t key);

#endif

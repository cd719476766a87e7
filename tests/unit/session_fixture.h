/* SPDX-License-Identifier: Apache-2.0 */
/* One user, one session key and that user's session in every form a cache can hold it, on top of
 * session_world.h. */
#ifndef SSE_SESSION_FIXTURE_H
#define SSE_SESSION_FIXTURE_H

#include "session_world.h"

#define FIXTURE_KEY "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define FIXTURE_COOKIE "sessionid=" FIXTURE_KEY
#define FIXTURE_CACHE_KEY ":1:django.contrib.sessions.cache" FIXTURE_KEY
#define FIXTURE_PASSWORD "pbkdf2_sha256$1$salt$hash"
#define FIXTURE_BACKEND "django.contrib.auth.backends.ModelBackend"

/* The world of a test program that has this fixture. */
extern world_t world;

/* For cmocka: a group that begins with fixture_open, and tests that end with fixture_clear. */
int fixture_group_begins(void **state);
int fixture_group_ends(void **state);
int fixture_test_ends(void **state);
#define fixture_test(f) cmocka_unit_test_teardown(f, fixture_test_ends)

/* A world with tables of users (1, active) and sessions (none), without groups. */
void fixture_open(world_t *w);
/* After each test: empties the test pool, w->django as at first. */
void fixture_clear(world_t *w);

/* User 1's session. */
sse_str_t fixture_json(world_t *w);
sse_str_t fixture_pickle(world_t *w);
sse_str_t fixture_packed(world_t *w, sse_str_t plain); /* compressed with zlib */
/* As the db, cached_db and file engines keep it (uncompressed). */
const char *fixture_signed(world_t *w, const char *salt, sse_str_t payload);

/* A configuration over w->django, its argument checked, opened. */
void fixture_site(world_t *w, sse_session_conf_t *conf, sse_engine_t engine, const char *argument);
/* One look-up of FIXTURE_COOKIE now; `who` may be NULL. */
sse_who_t fixture_look_up(world_t *w, const sse_session_conf_t *conf, sse_identity_t *who);

#endif

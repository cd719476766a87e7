/* SPDX-License-Identifier: Apache-2.0 */
/* Civil time: calendar arithmetic and the system's time zone database (TZif files, RFC 8536), read
 * without the process's own TZ, which threads share. A zone is immutable once loaded; any thread
 * may ask it. */
#ifndef SSE_ZONE_H
#define SSE_ZONE_H

#include "core/base.h"
#include <apr_pools.h>

typedef struct sse_zone_t sse_zone_t;

/* Loads an IANA name ("America/Chicago") from $TZDIR or /usr/share/zoneinfo. APR_EINVAL for a name
 * that is none, APR_ENOENT when the database lacks it, APR_EGENERAL when its file is not what it
 * should be. */
apr_status_t sse_zone_load(const char *name, apr_pool_t *pool, const sse_zone_t **out);
/* The same from a file's bytes. */
apr_status_t sse_zone_read(sse_str_t tzif, apr_pool_t *pool, const sse_zone_t **out);

/* Seconds east of UTC at a time; 0 for zone NULL. */
int sse_zone_offset(const sse_zone_t *zone, int64_t unix_seconds);

/* UNIX seconds at which clocks in the zone show `civil` (seconds of the proleptic calendar, counted
 * as if it were UTC). Of two such times the earlier, as Python's fold=0; a time that clocks skip is
 * read with the offset before the gap. */
int64_t sse_zone_to_unix(const sse_zone_t *zone, int64_t civil);

/* Seconds since 1970-01-01 of a date and time taken as UTC; month 1-12, day 1-31. */
int64_t sse_civil_seconds(int64_t year, int month, int day, int hour, int minute, int second);

/* A database's or Python's text of a time: "YYYY-MM-DD HH:MM:SS[.f…]", 'T' allowed in the middle,
 * with "Z" or "+HH:MM[:SS]" behind if there is an offset. *out_micros is the civil time (not yet
 * moved by the offset) in microseconds, *out_has_offset and *out_offset what was said. APR_EINVAL
 * for anything else. */
apr_status_t sse_civil_parse(sse_str_t text, int64_t *out_micros, bool *out_has_offset,
                             int *out_offset);

#endif

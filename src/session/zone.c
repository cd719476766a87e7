/* SPDX-License-Identifier: Apache-2.0 */
/* Reads TZif (RFC 8536): the transitions of version 2 or later and, beyond the last one, the POSIX
 * rule in the footer. localtime_r knows only the process's own zone, and changing that by
 * setenv("TZ") is not safe beside other threads.
 *
 * Loaded when the configuration is read, immutable afterwards, in the configuration's pool. */
#include "session/zone.h"
#include <apr_file_io.h>
#include <apr_strings.h>
#include <stdlib.h>

#define ZONE_FILE_MAX (256 * 1024)
#define DAY 86400

/* When a rule's daylight saving begins or ends. */
typedef struct rule_date_t {
    char kind; /* 'J': day 1-365 without 29 February; 'D': day 0-365; 'M': month, week, weekday */
    int day, month, week; /* 'M': day is the weekday, 0 = Sunday; week 5 = the last */
    int64_t time;         /* seconds after local midnight */
} rule_date_t;

struct sse_zone_t {
    size_t n;            /* transitions */
    const int64_t *when; /* ascending */
    const int *offset;   /* from the transition on */
    int first_offset;    /* before the first */
    bool has_rule, has_dst;
    int std, dst; /* seconds east of UTC */
    rule_date_t begin, end;
};

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar (years counted from March,
 * eras of 400 years). */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t year_of(int64_t days)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);

    return yoe + era * 400 + (doy >= 306); /* January and February belong to the next year */
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool leap_year(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

int64_t sse_civil_seconds(int64_t year, int month, int day, int hour, int minute, int second)
{
    return days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
}

static bool digits(sse_str_t s, size_t at, size_t n, int *out)
{
    int v = 0;

    if (at + n > s.n)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *out = v;
    return true;
}

static int month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && leap_year(year) ? 29 : days[month - 1];
}

/* "Z", "+HH", "+HHMM", "+HH:MM" or "+HH:MM:SS" up to the end. */
static bool parse_offset(sse_str_t s, int *out)
{
    int h, m = 0, sec = 0, sign;
    size_t at = 3;

    if (s.n == 1 && s.p[0] == 'Z') {
        *out = 0;
        return true;
    }
    if (s.n < 3 || (s.p[0] != '+' && s.p[0] != '-') || !digits(s, 1, 2, &h))
        return false;
    sign = s.p[0] == '-' ? -1 : 1;
    if (at < s.n) {
        at += s.p[at] == ':';
        if (!digits(s, at, 2, &m))
            return false;
        at += 2;
    }
    if (at < s.n) {
        at += s.p[at] == ':';
        if (!digits(s, at, 2, &sec))
            return false;
        at += 2;
    }
    if (at != s.n || h > 23 || m > 59 || sec > 59)
        return false;
    *out = sign * (h * 3600 + m * 60 + sec);
    return true;
}

apr_status_t sse_civil_parse(sse_str_t text, int64_t *out_micros, bool *out_has_offset,
                             int *out_offset)
{
    int year, month, day, hour, minute, second, micros = 0, offset = 0;
    size_t at = 19;

    if (text.n < 19 || !digits(text, 0, 4, &year) || text.p[4] != '-' ||
        !digits(text, 5, 2, &month) || text.p[7] != '-' || !digits(text, 8, 2, &day) ||
        (text.p[10] != ' ' && text.p[10] != 'T') || !digits(text, 11, 2, &hour) ||
        text.p[13] != ':' || !digits(text, 14, 2, &minute) || text.p[16] != ':' ||
        !digits(text, 17, 2, &second))
        return APR_EINVAL;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > month_days(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return APR_EINVAL;
    if (at < text.n && text.p[at] == '.') {
        int scale = 100000;
        size_t from = ++at;
        for (; at < text.n && text.p[at] >= '0' && text.p[at] <= '9'; at++) {
            micros += (text.p[at] - '0') * scale;
            scale /= 10;
        }
        if (at == from || at - from > 9)
            return APR_EINVAL;
    }
    if (at < text.n && !parse_offset((sse_str_t){text.p + at, text.n - at}, &offset))
        return APR_EINVAL;
    *out_micros = sse_civil_seconds(year, month, day, hour, minute, second) * 1000000 + micros;
    *out_has_offset = at < text.n;
    *out_offset = offset;
    return APR_SUCCESS;
}

/* --- the footer's POSIX rule: "CST6CDT,M3.2.0,M11.1.0"
 * --------------------------------------------------------------------------- */

static bool rule_name(const char **p)
{
    const char *from = *p;

    if (**p == '<') {
        *p = strchr(*p, '>');
        if (!*p)
            return false;
        (*p)++;
        return *p - from >= 5;
    }
    while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
        (*p)++;
    return *p - from >= 3;
}

static bool rule_int(const char **p, int max, int *out)
{
    int v = 0;
    const char *from = *p;

    while (**p >= '0' && **p <= '9' && *p - from < 4)
        v = v * 10 + (*(*p)++ - '0');
    *out = v;
    return *p > from && v <= max;
}

/* [+-]hh[:mm[:ss]]; hours up to 167 as RFC 8536 extends it. */
static bool rule_time(const char **p, int64_t *out)
{
    int sign = 1, h, m = 0, s = 0;

    if (**p == '-' || **p == '+')
        sign = *(*p)++ == '-' ? -1 : 1;
    if (!rule_int(p, 167, &h))
        return false;
    if (**p == ':' && ((*p)++, !rule_int(p, 59, &m)))
        return false;
    if (**p == ':' && ((*p)++, !rule_int(p, 59, &s)))
        return false;
    *out = sign * ((int64_t)h * 3600 + m * 60 + s);
    return true;
}

static bool rule_date(const char **p, rule_date_t *out)
{
    *out = (rule_date_t){.kind = 'D', .time = 7200};
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M') {
        out->kind = 'M';
        (*p)++;
        if (!rule_int(p, 12, &out->month) || out->month == 0 || *(*p)++ != '.' ||
            !rule_int(p, 5, &out->week) || out->week == 0 || *(*p)++ != '.' ||
            !rule_int(p, 6, &out->day))
            return false;
    } else {
        if (**p == 'J') {
            out->kind = 'J';
            (*p)++;
        }
        if (!rule_int(p, 365, &out->day))
            return false;
    }
    return **p != '/' || ((*p)++, rule_time(p, &out->time));
}

static bool read_rule(const char *p, sse_zone_t *z)
{
    int64_t west;

    if (!*p)
        return true; /* no rule: the last transition's offset holds */
    if (!rule_name(&p) || !rule_time(&p, &west))
        return false;
    z->std = (int)-west;
    z->has_rule = true;
    if (!*p)
        return true;
    if (!rule_name(&p))
        return false;
    z->dst = z->std + 3600;
    if (*p && *p != ',') {
        if (!rule_time(&p, &west))
            return false;
        z->dst = (int)-west;
    }
    z->has_dst = true;
    return rule_date(&p, &z->begin) && rule_date(&p, &z->end) && !*p;
}

/* Civil seconds of the rule's date in a year. */
static int64_t rule_instant(const rule_date_t *d, int64_t year)
{
    int64_t days = days_from_civil(year, 1, 1);

    if (d->kind == 'J') {
        days += d->day - 1 + (leap_year(year) && d->day >= 60);
    } else if (d->kind == 'D') {
        days += d->day;
    } else {
        int64_t first = days_from_civil(year, d->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
        int day = (d->day - weekday + 7) % 7 + (d->week - 1) * 7;
        if (day >= month_days(year, d->month))
            day -= 7;
        days = first + day;
    }
    return days * DAY + d->time;
}

static int rule_offset(const sse_zone_t *z, int64_t t)
{
    int64_t year, begin, end;

    if (!z->has_dst)
        return z->std;
    year = year_of(floor_div(t + z->std, DAY));
    begin = rule_instant(&z->begin, year) - z->std;
    end = rule_instant(&z->end, year) - z->dst;
    if (begin < end)
        return t >= begin && t < end ? z->dst : z->std;
    return t >= end && t < begin ? z->std : z->dst;
}

/* --- the file
 * -------------------------------------------------------------------------------------------------------------------
 */

static uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static int64_t be64(const char *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

typedef struct header_t {
    uint32_t isut, isstd, leap, times, types, chars;
} header_t;

static bool read_header(sse_str_t s, header_t *h)
{
    if (s.n < 44 || memcmp(s.p, "TZif", 4) != 0 || s.p[4] < '2')
        return false;
    *h = (header_t){be32(s.p + 20), be32(s.p + 24), be32(s.p + 28),
                    be32(s.p + 32), be32(s.p + 36), be32(s.p + 40)};
    return h->times <= 10000 && h->types >= 1 && h->types <= 256 && h->chars <= 10000 &&
           h->leap <= 10000 && h->isut <= 256 && h->isstd <= 256;
}

static size_t body_size(const header_t *h, size_t time_size)
{
    return h->times * time_size + h->times + h->types * 6 + h->chars + h->leap * (time_size + 4) +
           h->isstd + h->isut;
}

apr_status_t sse_zone_read(sse_str_t s, apr_pool_t *pool, const sse_zone_t **out)
{
    header_t h;
    sse_zone_t *z = apr_pcalloc(pool, sizeof *z);
    const char *types, *index, *nl;
    int64_t *when;
    int *offset;
    size_t skip;

    /* The first block has 32-bit times for readers of version 1. */
    if (!read_header(s, &h))
        return APR_EGENERAL;
    skip = 44 + body_size(&h, 4);
    if (skip > s.n)
        return APR_EGENERAL;
    s = (sse_str_t){s.p + skip, s.n - skip};
    if (!read_header(s, &h) || 44 + body_size(&h, 8) > s.n)
        return APR_EGENERAL;

    when = apr_palloc(pool, (h.times + 1) * sizeof *when);
    offset = apr_palloc(pool, (h.times + 1) * sizeof *offset);
    index = s.p + 44 + h.times * 8;
    types = index + h.times;
    for (uint32_t i = 0; i < h.times; i++) {
        unsigned char type = (unsigned char)index[i];
        when[i] = be64(s.p + 44 + i * 8);
        if (type >= h.types || (i > 0 && when[i] <= when[i - 1]))
            return APR_EGENERAL;
        offset[i] = (int32_t)be32(types + type * 6);
        if (offset[i] < -DAY * 2 || offset[i] > DAY * 2)
            return APR_EGENERAL;
    }
    z->n = h.times;
    z->when = when;
    z->offset = offset;
    z->first_offset = (int32_t)be32(types);

    skip = 44 + body_size(&h, 8);
    s = (sse_str_t){s.p + skip, s.n - skip};
    nl = s.n >= 2 && s.p[0] == '\n' ? memchr(s.p + 1, '\n', s.n - 1) : NULL;
    if (!nl || !read_rule(apr_pstrmemdup(pool, s.p + 1, (apr_size_t)(nl - s.p - 1)), z))
        return APR_EGENERAL;
    *out = z;
    return APR_SUCCESS;
}

apr_status_t sse_zone_load(const char *name, apr_pool_t *pool, const sse_zone_t **out)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "+-_/";
    const char *dir = getenv("TZDIR"), *path;
    apr_file_t *f;
    apr_status_t rv;
    apr_size_t n = ZONE_FILE_MAX;
    char *bytes;

    if (!*name || *name == '/' || strspn(name, allowed) != strlen(name) || strlen(name) > 100)
        return APR_EINVAL; /* without dots it cannot leave the directory */
    path = apr_psprintf(pool, "%s/%s", dir && *dir ? dir : "/usr/share/zoneinfo", name);
    rv = apr_file_open(&f, path, APR_FOPEN_READ | APR_FOPEN_BINARY, 0, pool);
    if (rv != APR_SUCCESS)
        return APR_ENOENT;
    bytes = apr_palloc(pool, ZONE_FILE_MAX);
    rv = apr_file_read_full(f, bytes, ZONE_FILE_MAX, &n);
    apr_file_close(f);
    if (!APR_STATUS_IS_EOF(rv))
        return APR_EGENERAL; /* unreadable (a directory), or larger than any zone */
    return sse_zone_read((sse_str_t){bytes, n}, pool, out);
}

int sse_zone_offset(const sse_zone_t *z, int64_t t)
{
    size_t lo = 0, hi;

    if (!z)
        return 0;
    if (z->n == 0 || t >= z->when[z->n - 1]) {
        if (z->has_rule)
            return rule_offset(z, t);
        return z->n ? z->offset[z->n - 1] : z->first_offset;
    }
    if (t < z->when[0])
        return z->first_offset;
    hi = z->n - 1; /* when[lo] <= t < when[hi] */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (t >= z->when[mid])
            lo = mid;
        else
            hi = mid;
    }
    return z->offset[lo];
}

int64_t sse_zone_to_unix(const sse_zone_t *zone, int64_t civil)
{
    /* Offsets a day to either side are those before and after any change near this time. */
    int before = sse_zone_offset(zone, civil - DAY), after = sse_zone_offset(zone, civil + DAY);
    int64_t early = civil - before, late = civil - after;

    if (sse_zone_offset(zone, early) == before)
        return early;
    if (sse_zone_offset(zone, late) == after)
        return late;
    return early;
}

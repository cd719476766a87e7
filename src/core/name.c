/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of names and the matching of patterns. Pure functions, any thread. */
#include "core/name.h"

#define USER_TOKEN "%{user}"

size_t sse_name_utf8_char(sse_str_t s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf;
    size_t len, i;

    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (s.n < len)
        return 0;
    /* The second byte's range is what tells overlong forms, surrogates and what is beyond U+10FFFF.
     */
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

bool sse_name_utf8(sse_str_t s)
{
    size_t i = 0;

    while (i < s.n) {
        size_t n = sse_name_utf8_char((sse_str_t){s.p + i, s.n - i});

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

/* True for C0, DEL and, in valid UTF-8, C1. */
static bool has_control(sse_str_t s)
{
    size_t i;

    for (i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static const char *text_problem(sse_str_t name)
{
    if (!sse_name_utf8(name))
        return "is not valid UTF-8";
    if (has_control(name))
        return "has a control character; only printable characters are allowed";
    return NULL;
}

static bool begins_with(sse_str_t s, sse_str_t head)
{
    return s.n >= head.n && memcmp(s.p, head.p, head.n) == 0;
}

static bool has_char(sse_str_t s, char c)
{
    return s.n && memchr(s.p, c, s.n);
}

/* What event names and patterns have in common. */
static const char *event_text_problem(sse_str_t name)
{
    const char *problem;

    if (name.n == 0)
        return "is empty; a name of 1 to 255 bytes is needed";
    if (name.n > SSE_EVENT_MAX)
        return "is longer than 255 bytes";
    problem = text_problem(name);
    if (problem)
        return problem;
    if (has_char(name, ' '))
        return "has a space; spaces separate names, use ':', '-' or '_' inside one";
    if (sse_str_eq(name, SSE_STR("open")) || sse_str_eq(name, SSE_STR("error")))
        return "is reserved: \"open\" and \"error\" are EventSource's own events";
    if (begins_with(name, SSE_STR("stream-")))
        return "is reserved: names that begin with \"stream-\" are the server's own";
    return NULL;
}

const char *sse_name_event_problem(sse_str_t name)
{
    const char *problem = event_text_problem(name);

    if (problem)
        return problem;
    return has_char(name, '*') ? "has a '*', which is only allowed in patterns" : NULL;
}

const char *sse_name_realm_problem(sse_str_t name)
{
    size_t i;

    if (name.n == 0)
        return "is empty; a name of 1 to 64 bytes is needed";
    if (name.n > SSE_REALM_MAX)
        return "is longer than 64 bytes";
    for (i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return "has a character other than A-Z, a-z, 0-9, '.', '_' and '-'";
    }
    return NULL;
}

const char *sse_name_user_problem(sse_str_t name)
{
    if (name.n == 0)
        return "is empty; a name of 1 to 255 bytes is needed";
    if (name.n > SSE_USER_MAX)
        return "is longer than 255 bytes";
    return text_problem(name);
}

const char *sse_name_group_problem(sse_str_t name)
{
    if (name.n == 0)
        return "is empty; a name of 1 to 640 bytes is needed";
    if (name.n > SSE_GROUP_MAX)
        return "is longer than 640 bytes";
    return text_problem(name);
}

const char *sse_name_pattern_problem(sse_str_t pattern)
{
    const char *problem = event_text_problem(pattern);
    size_t i;

    if (problem)
        return problem;
    for (i = 0; i + 1 < pattern.n; i++) {
        sse_str_t rest = {pattern.p + i, pattern.n - i};

        if (begins_with(rest, SSE_STR("%{")) && !begins_with(rest, SSE_STR(USER_TOKEN)))
            return "has a \"%{\" that does not begin \"%{user}\", the only one there is";
    }
    return NULL;
}

/* Places in the event up to which the pattern read so far can match: [i] for its first i bytes. */
typedef struct places_t {
    bool at[SSE_EVENT_MAX + 1];
} places_t;

/* '*' or "**": from each place on over what it may cover. */
static void spread(places_t *now, sse_str_t event, bool over_colons)
{
    size_t i;

    for (i = 0; i < event.n; i++) {
        if (now->at[i] && (over_colons || event.p[i] != ':'))
            now->at[i + 1] = true;
    }
}

/* Literal text: each place moves behind it or is lost. False when none is left. */
static bool advance(places_t *now, sse_str_t event, sse_str_t text)
{
    places_t next = {{false}};
    bool any = false;
    size_t i;

    for (i = 0; i + text.n <= event.n; i++) {
        if (now->at[i] && memcmp(event.p + i, text.p, text.n) == 0)
            any = next.at[i + text.n] = true;
    }
    *now = next;
    return any;
}

bool sse_name_pattern_match(sse_str_t pattern, sse_str_t user, sse_str_t event)
{
    places_t now = {{true}};
    size_t i = 0;

    if (event.n > SSE_EVENT_MAX)
        return false;
    while (i < pattern.n) {
        sse_str_t rest = {pattern.p + i, pattern.n - i};

        if (rest.p[0] == '*') {
            size_t stars = 1;

            while (stars < rest.n && rest.p[stars] == '*')
                stars++;
            spread(&now, event, stars > 1);
            i += stars;
        } else if (begins_with(rest, SSE_STR(USER_TOKEN))) {
            if (user.n == 0 || !advance(&now, event, user))
                return false;
            i += sizeof(USER_TOKEN) - 1;
        } else {
            size_t n = 1;

            while (n < rest.n && rest.p[n] != '*' && rest.p[n] != '%')
                n++;
            if (!advance(&now, event, (sse_str_t){rest.p, n}))
                return false;
            i += n;
        }
    }
    return now.at[event.n];
}

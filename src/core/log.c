/* SPDX-License-Identifier: Apache-2.0 */
/* Formats a message, makes it harmless and hands it to the program's sink. The sink is set before
 * threads start and then only read, so any thread may log. */
#include "core/log.h"

#include <stdio.h>

#define MESSAGE_MAX 2000

static void write_stderr(sse_log_level_t level, const char *message)
{
    static const char *const names[] = {"", "", "crit", "error", "warn", "notice", "info", "debug"};

    fprintf(stderr, "[sse:%s] %s\n", names[level & 7], message);
}

static sse_log_sink_fn log_sink = write_stderr;
static sse_log_level_t log_level = SSE_LOG_INFO;

void sse_log_sink_set(sse_log_sink_fn sink, sse_log_level_t level)
{
    log_sink = sink ? sink : write_stderr;
    log_level = level;
}

bool sse_log_wants(sse_log_level_t level)
{
    return level <= log_level;
}

/* C0 and DEL by themselves, C1 as the two bytes of its UTF-8 form: terminals obey both. */
static bool is_control(const char *s, size_t i)
{
    unsigned char c = (unsigned char)s[i];

    if (c < 0x20 || c == 0x7f)
        return true;
    if (c == 0xc2)
        return ((unsigned char)s[i + 1] & 0xe0) == 0x80;
    return (c & 0xe0) == 0x80 && i > 0 && (unsigned char)s[i - 1] == 0xc2;
}

static void escape(const char *in, char *out)
{
    size_t i, n = 0;

    for (i = 0; in[i]; i++) {
        if (is_control(in, i)) {
            if (n + 4 > MESSAGE_MAX)
                break;
            n += (size_t)snprintf(out + n, 5, "\\x%02x", (unsigned char)in[i]);
        } else {
            if (n + 1 > MESSAGE_MAX)
                break;
            out[n++] = in[i];
        }
    }
    out[n] = '\0';
}

void sse_log(sse_log_level_t level, const char *fmt, ...)
{
    char raw[MESSAGE_MAX + 1], message[MESSAGE_MAX + 1];
    va_list ap;

    if (!sse_log_wants(level))
        return;
    va_start(ap, fmt);
    if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
        raw[0] = '\0';
    va_end(ap);
    escape(raw, message);
    log_sink(level, message);
}

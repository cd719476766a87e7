/* SPDX-License-Identifier: Apache-2.0 */
/* See load_h2.h. Header fields are sent as literals without Huffman coding; of a response's head
 * only the indexed ":status 200" is known. */
#include "load_h2.h"

#include <err.h>
#include <string.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };

static unsigned char *put_frame(unsigned char *p, size_t n, int type, int flags, uint32_t stream)
{
    const unsigned char head[9] = {(unsigned char)(n >> 16),
                                   (unsigned char)(n >> 8),
                                   (unsigned char)n,
                                   (unsigned char)type,
                                   (unsigned char)flags,
                                   0,
                                   0,
                                   0,
                                   (unsigned char)stream};
    memcpy(p, head, sizeof(head));
    return p + sizeof(head);
}

/* A literal of at most 126 bytes behind the index of its name in the static table. */
static unsigned char *put_field(unsigned char *p, int index, const char *value)
{
    size_t n = strlen(value);
    if (n > 126)
        errx(1, "HTTP/2: a field is too long");
    if (index < 15) {
        *p++ = (unsigned char)index;
    } else {
        *p++ = 15;
        *p++ = (unsigned char)(index - 15);
    }
    *p++ = (unsigned char)n;
    memcpy(p, value, n);
    return p + n;
}

static unsigned char *put_new_field(unsigned char *p, const char *name, const char *value)
{
    *p++ = 0;
    *p++ = (unsigned char)strlen(name);
    memcpy(p, name, strlen(name));
    p += strlen(name);
    *p++ = (unsigned char)strlen(value);
    memcpy(p, value, strlen(value));
    return p + strlen(value);
}

size_t load_h2_request(const char *path, const char *last_id, unsigned char *out)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const unsigned char window[] = {0, 4, 0x7f, 0xff, 0xff, 0xff}; /* of each stream */
    static const unsigned char more[] = {0x3f, 0, 0, 0};                  /* of the connection */
    unsigned char fields[1024], *f = fields, *p = out;
    *f++ = 0x82; /* :method GET */
    *f++ = 0x87; /* :scheme https */
    f = put_field(f, 4, path);
    f = put_field(f, 1, "localhost");
    f = put_field(f, 19, "text/event-stream");
    if (last_id[0])
        f = put_new_field(f, "last-event-id", last_id);
    memcpy(p, preface, sizeof(preface) - 1);
    p = put_frame(p + sizeof(preface) - 1, sizeof(window), SETTINGS, 0, 0);
    memcpy(p, window, sizeof(window));
    p = put_frame(p + sizeof(window), sizeof(more), WINDOW_UPDATE, 0, 0);
    memcpy(p, more, sizeof(more));
    p = put_frame(p + sizeof(more), (size_t)(f - fields), HEADERS, END_STREAM | END_HEADERS, 1);
    memcpy(p, fields, (size_t)(f - fields));
    return (size_t)(p - out) + (size_t)(f - fields);
}

/* The beginning of a frame's payload that is more than data. */
static void take_control(load_h2_t *h2, const char *p, size_t n, load_h2_piece_t *out)
{
    int type = h2->head[3], flags = h2->head[4];
    if (type == SETTINGS && !(flags & ACK)) {
        put_frame(out->ack, 0, SETTINGS, ACK, 0);
        out->ack_n = 9;
    } else if (type == PING && !(flags & ACK)) {
        if (n < 8)
            errx(1, "HTTP/2: a PING came in pieces");
        memcpy(put_frame(out->ack, 8, PING, ACK, 0), p, 8);
        out->ack_n = 17;
    } else if (type == HEADERS) {
        while (n && (*p & 0xe0) == 0x20) { /* the table's size */
            p++;
            n--;
        }
        out->answered = true;
        if (!n || (unsigned char)*p != 0x88)
            out->problem = "refused";
    } else if (type == RST_STREAM || type == GOAWAY) {
        out->problem = "ended by the server";
    }
}

size_t load_h2_take(load_h2_t *h2, const char *p, size_t n, load_h2_piece_t *out)
{
    size_t used = 0;
    memset(out, 0, sizeof(*out));
    while (h2->head_n < sizeof(h2->head)) {
        if (used == n)
            return used;
        h2->head[h2->head_n++] = (uint8_t)p[used++];
        if (h2->head_n == sizeof(h2->head)) {
            h2->left = (uint32_t)h2->head[0] << 16 | (uint32_t)h2->head[1] << 8 | h2->head[2];
            h2->first = true;
        }
    }
    int type = h2->head[3], flags = h2->head[4];
    size_t part = n - used < h2->left ? n - used : h2->left;
    if (flags & PADDED && (type == DATA || type == HEADERS))
        errx(1, "HTTP/2: padded frames are not understood");
    if (type == DATA) {
        out->data = p + used;
        out->n = part;
    } else if (h2->first && (part || !h2->left)) {
        take_control(h2, p + used, part, out);
    }
    h2->first = h2->first && !part;
    h2->left -= (uint32_t)part;
    if (!h2->left) {
        h2->head_n = 0;
        if (flags & END_STREAM && (type == DATA || type == HEADERS) && !out->problem)
            out->problem = "ended by the server";
    }
    return used + part;
}

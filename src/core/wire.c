/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between workers and hub to bytes and back, and over a channel. One table of fields a
 * message type serves both directions. No state; any thread, each on its own channels. */
#include "core/wire.h"

#include "core/crypto.h"
#include "core/fdpass.h"

#include <stdlib.h>
#include <unistd.h>

/* u16 version, u16 type, u32 id. */
#define HEAD_LEN 8

typedef enum kind_t {
    KIND_END,
    KIND_U32,
    KIND_U64,
    KIND_STR,
    KIND_COUNT, /* a u32: length of the list of the next KIND_LIST that has no count yet */
    KIND_LIST   /* count_offset tells where its count stands */
} kind_t;

typedef struct field_t {
    kind_t kind;
    size_t offset;       /* in sse_wire_msg_t */
    size_t count_offset; /* KIND_LIST */
    uint32_t max;        /* bytes of a string or of each of a list, or the largest count */
} field_t;

#define AT(member) offsetof(sse_wire_msg_t, u.member)
#define U32(member)                                                                                \
    {                                                                                              \
        KIND_U32, AT(member), 0, 0                                                                 \
    }
#define U64(member)                                                                                \
    {                                                                                              \
        KIND_U64, AT(member), 0, 0                                                                 \
    }
#define STR(member, max)                                                                           \
    {                                                                                              \
        KIND_STR, AT(member), 0, max                                                               \
    }
#define COUNT(member, max)                                                                         \
    {                                                                                              \
        KIND_COUNT, AT(member), 0, max                                                             \
    }
#define LIST(member, count, max)                                                                   \
    {                                                                                              \
        KIND_LIST, AT(member), AT(count), max                                                      \
    }
#define END                                                                                        \
    {                                                                                              \
        KIND_END, 0, 0, 0                                                                          \
    }

#define ADDRESS_MAX 64
#define ID_MAX 255

static const field_t hello_fields[] = {U32(hello.pid), END};
static const field_t reserve_fields[] = {
    U32(reserve.flags),
    STR(reserve.realm, SSE_REALM_MAX),
    STR(reserve.user, SSE_USER_MAX),
    STR(reserve.session, SSE_SESSION_HASH_LEN),
    U64(reserve.session_expires),
    U64(reserve.looked_up),
    STR(reserve.address, ADDRESS_MAX),
    STR(reserve.last_id, ID_MAX),
    COUNT(reserve.n_groups, SSE_USER_GROUPS_MAX),
    COUNT(reserve.n_events, SSE_STREAM_EVENTS_MAX),
    LIST(reserve.groups, reserve.n_groups, SSE_GROUP_MAX),
    LIST(reserve.events, reserve.n_events, SSE_EVENT_MAX),
    END,
};
static const field_t reserved_fields[] = {
    U32(reserved.verdict),
    U64(reserved.ticket),
    U32(reserved.retry_after),
    STR(reserved.body, UINT32_MAX),
    END,
};
static const field_t attach_fields[] = {U64(attach.ticket), U32(attach.carriage),
                                        STR(attach.tls, SSE_TLSSTATE_LEN),
                                        STR(attach.head, SSE_WIRE_HEAD_MAX), END};
static const field_t release_fields[] = {U64(release.ticket), END};
static const field_t admin_fields[] = {
    STR(admin.realm, SSE_REALM_MAX),     STR(admin.method, UINT32_MAX),
    STR(admin.path, UINT32_MAX),         STR(admin.query, UINT32_MAX),
    STR(admin.content_type, UINT32_MAX), STR(admin.accept, UINT32_MAX),
    STR(admin.last_id, UINT32_MAX),      STR(admin.address, ADDRESS_MAX),
    STR(admin.body, UINT32_MAX),         END,
};
static const field_t admin_reply_fields[] = {
    U32(admin_reply.status),
    STR(admin_reply.headers, UINT32_MAX),
    STR(admin_reply.content_type, UINT32_MAX),
    U64(admin_reply.ticket),
    STR(admin_reply.body, UINT32_MAX),
    END,
};

static const struct {
    const field_t *fields;
    bool takes_fd; /* exactly one descriptor belongs to it; it is never large */
} types[] = {
    [SSE_WIRE_HELLO] = {hello_fields, true},
    [SSE_WIRE_RESERVE] = {reserve_fields, false},
    [SSE_WIRE_RESERVED] = {reserved_fields, false},
    [SSE_WIRE_ATTACH] = {attach_fields, true},
    [SSE_WIRE_RELEASE] = {release_fields, false},
    [SSE_WIRE_ADMIN] = {admin_fields, false},
    [SSE_WIRE_ADMIN_REPLY] = {admin_reply_fields, false},
};

static bool is_type(unsigned type)
{
    return type >= SSE_WIRE_HELLO && type < SSE_ARRAY_LEN(types);
}

static void *member_at(sse_wire_msg_t *msg, size_t offset)
{
    return (char *)msg + offset;
}

static const void *const_at(const sse_wire_msg_t *msg, size_t offset)
{
    return (const char *)msg + offset;
}

static void put_number(sse_buf_t *out, uint64_t v, size_t bytes)
{
    char raw[8];
    size_t i;

    for (i = 0; i < bytes; i++)
        raw[i] = (char)(v >> (8 * i));
    sse_buf_add(out, raw, bytes);
}

static void put_str(sse_buf_t *out, sse_str_t s)
{
    put_number(out, s.n, 4);
    sse_buf_str(out, s);
}

static const sse_str_t *list_of(const sse_wire_msg_t *msg, const field_t *f, uint32_t *out_n)
{
    *out_n = *(const uint32_t *)const_at(msg, f->count_offset);
    return *(const sse_str_t *const *)const_at(msg, f->offset);
}

static size_t encoded_size(const sse_wire_msg_t *msg)
{
    const field_t *f;
    size_t size = HEAD_LEN;

    for (f = types[msg->type].fields; f->kind != KIND_END; f++) {
        switch (f->kind) {
        case KIND_U64:
            size += 8;
            break;
        case KIND_STR:
            size += 4 + ((const sse_str_t *)const_at(msg, f->offset))->n;
            break;
        case KIND_LIST: {
            uint32_t n, i;
            const sse_str_t *list = list_of(msg, f, &n);

            for (i = 0; i < n; i++)
                size += 4 + list[i].n;
            break;
        }
        default:
            size += 4;
        }
    }
    return size;
}

void sse_wire_encode(sse_buf_t *out, const sse_wire_msg_t *msg)
{
    const field_t *f;

    sse_buf_reserve(out, encoded_size(msg));
    put_number(out, SSE_WIRE_VERSION, 2);
    put_number(out, msg->type, 2);
    put_number(out, msg->id, 4);
    for (f = types[msg->type].fields; f->kind != KIND_END; f++) {
        const void *at = const_at(msg, f->offset);

        switch (f->kind) {
        case KIND_U64:
            put_number(out, *(const uint64_t *)at, 8);
            break;
        case KIND_STR:
            put_str(out, *(const sse_str_t *)at);
            break;
        case KIND_LIST: {
            uint32_t n, i;
            const sse_str_t *list = list_of(msg, f, &n);

            for (i = 0; i < n; i++)
                put_str(out, list[i]);
            break;
        }
        default:
            put_number(out, *(const uint32_t *)at, 4);
        }
    }
}

/* What is left of a datagram; `bad` once anything did not fit. */
typedef struct reader_t {
    const unsigned char *p;
    size_t n;
    bool bad;
} reader_t;

static uint64_t get_number(reader_t *r, size_t bytes)
{
    uint64_t v = 0;
    size_t i;

    if (r->n < bytes) {
        r->bad = true;
        return 0;
    }
    for (i = 0; i < bytes; i++)
        v |= (uint64_t)r->p[i] << (8 * i);
    r->p += bytes;
    r->n -= bytes;
    return v;
}

static sse_str_t get_str(reader_t *r, uint32_t max)
{
    uint32_t n = (uint32_t)get_number(r, 4);
    sse_str_t s;

    if (n > max || n > r->n) {
        r->bad = true;
        return SSE_STR_NONE;
    }
    s = (sse_str_t){(const char *)r->p, n};
    r->p += n;
    r->n -= n;
    return s;
}

/* All lists of a message share one allocation, whose size the counts in front of them have told. */
static void get_list(reader_t *r, sse_wire_msg_t *msg, const field_t *f, size_t *used, size_t total)
{
    uint32_t n, i;
    sse_str_t *list;

    list_of(msg, f, &n);
    if (r->bad || n == 0)
        return;
    if (total > r->n / 4 + *used) {
        r->bad = true;
        return;
    }
    if (!msg->lists)
        msg->lists = sse_malloc(total * sizeof(sse_str_t));
    list = msg->lists + *used;
    for (i = 0; i < n; i++)
        list[i] = get_str(r, f->max);
    *used += n;
    *(const sse_str_t **)member_at(msg, f->offset) = list;
}

static void get_fields(reader_t *r, sse_wire_msg_t *msg)
{
    const field_t *f;
    size_t used = 0, total = 0;

    for (f = types[msg->type].fields; f->kind != KIND_END && !r->bad; f++) {
        void *at = member_at(msg, f->offset);

        switch (f->kind) {
        case KIND_U64:
            *(uint64_t *)at = get_number(r, 8);
            break;
        case KIND_STR:
            *(sse_str_t *)at = get_str(r, f->max);
            break;
        case KIND_LIST:
            get_list(r, msg, f, &used, total);
            break;
        case KIND_COUNT:
            *(uint32_t *)at = (uint32_t)get_number(r, 4);
            total += *(uint32_t *)at;
            if (*(uint32_t *)at > f->max)
                r->bad = true;
            break;
        default:
            *(uint32_t *)at = (uint32_t)get_number(r, 4);
        }
    }
}

/* A stream is sealed exactly where there is a state to seal with. */
static bool attach_is_whole(const sse_wire_attach_t *a)
{
    size_t want = a->carriage == SSE_CARRIED_TLS ? SSE_TLSSTATE_LEN : 0;
    return a->carriage < SSE_CARRIAGES && a->tls.n == want &&
           (a->head.n == 0 || a->carriage == SSE_CARRIED_CLEAR);
}

apr_status_t sse_wire_decode(sse_str_t data, sse_wire_msg_t *out_msg)
{
    reader_t r = {.p = (const unsigned char *)data.p, .n = data.n};
    sse_wire_msg_t msg;
    unsigned version, type;

    memset(&msg, 0, sizeof(msg));
    version = (unsigned)get_number(&r, 2);
    type = (unsigned)get_number(&r, 2);
    msg.id = (uint32_t)get_number(&r, 4);
    if (r.bad || version != SSE_WIRE_VERSION || !is_type(type))
        return APR_EINVAL;
    msg.type = (sse_wire_type_t)type;
    get_fields(&r, &msg);
    if (msg.type == SSE_WIRE_RESERVE && msg.u.reserve.session.n != 0 &&
        msg.u.reserve.session.n != SSE_SESSION_HASH_LEN)
        r.bad = true;
    if (msg.type == SSE_WIRE_ATTACH && !attach_is_whole(&msg.u.attach))
        r.bad = true;
    if (r.bad || r.n != 0) {
        sse_wire_msg_clear(&msg);
        return APR_EINVAL;
    }
    *out_msg = msg;
    return APR_SUCCESS;
}

void sse_wire_msg_clear(sse_wire_msg_t *msg)
{
    free(msg->lists);
    msg->lists = NULL;
}

apr_status_t sse_wire_send(int sock, const sse_wire_msg_t *msg, int fd, int timeout_ms)
{
    const bool large = encoded_size(msg) > SSE_FDPASS_MAX;
    sse_buf_t out = {0};
    sse_str_t datagram;
    int file = -1;
    apr_status_t rv = APR_SUCCESS;

    if (large && types[msg->type].takes_fd)
        return APR_ENOSPC;
    sse_wire_encode(&out, msg);
    datagram = sse_buf_slice(&out);
    if (large) {
        rv = sse_fdpass_memfd("sse-message", datagram, &file);
        datagram.n = HEAD_LEN;
        fd = file;
    }
    if (rv == APR_SUCCESS)
        rv = sse_fdpass_send(sock, datagram, &fd, fd >= 0 ? 1 : 0, timeout_ms);
    if (msg->type == SSE_WIRE_ATTACH)
        sse_crypto_wipe(out.p, out.n);
    sse_buf_clear(&out);
    if (file >= 0)
        close(file);
    return rv;
}

/* Puts the whole message in the place of its head that came with a memory file. */
static apr_status_t open_file(sse_wire_in_t *in, int file, size_t file_max)
{
    char *whole;
    size_t len;
    apr_status_t rv = sse_fdpass_memfd_read(file, file_max, &whole, &len);

    if (rv != APR_SUCCESS)
        return rv;
    if (len < HEAD_LEN || memcmp(whole, in->data, HEAD_LEN) != 0)
        rv = APR_EINVAL;
    free(in->data);
    in->data = whole;
    in->data_len = len;
    return rv;
}

static apr_status_t decode_in(sse_wire_in_t *in, int *fds, size_t n_fds, size_t file_max)
{
    const bool filed = in->data_len == HEAD_LEN && n_fds == 1;
    apr_status_t rv;

    if (filed) {
        rv = open_file(in, fds[0], file_max);
        if (rv != APR_SUCCESS)
            return rv;
    }
    rv = sse_wire_decode((sse_str_t){in->data, in->data_len}, &in->msg);
    if (rv != APR_SUCCESS)
        return rv;
    if (types[in->msg.type].takes_fd) {
        if (filed || n_fds != 1)
            return APR_EINVAL;
        in->fd = fds[0];
        fds[0] = -1;
    } else if (n_fds != 0 && !filed) {
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

apr_status_t sse_wire_recv(int sock, size_t file_max, int timeout_ms, sse_wire_in_t *out_in)
{
    char raw[SSE_FDPASS_MAX];
    int fds[SSE_FDPASS_FDS_MAX];
    sse_wire_in_t in = {.fd = -1};
    size_t len, n_fds, i;
    apr_status_t rv;

    rv = sse_fdpass_recv(sock, raw, sizeof(raw), timeout_ms, &len, fds, &n_fds, &in.peer_uid);
    if (rv != APR_SUCCESS)
        return rv;
    in.data = sse_strndup(raw, len);
    in.data_len = len;
    rv = decode_in(&in, fds, n_fds, file_max);
    for (i = 0; i < n_fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (rv != APR_SUCCESS || in.msg.type == SSE_WIRE_ATTACH)
        sse_crypto_wipe(raw, len);
    if (rv != APR_SUCCESS)
        sse_wire_in_clear(&in);
    else
        *out_in = in;
    return rv;
}

void sse_wire_in_clear(sse_wire_in_t *in)
{
    sse_wire_msg_clear(&in->msg);
    if (in->fd >= 0)
        close(in->fd);
    in->fd = -1;
    if (in->data)
        sse_crypto_wipe(in->data, in->data_len);
    free(in->data);
    in->data = NULL;
}

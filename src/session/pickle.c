/* SPDX-License-Identifier: Apache-2.0 */
/* The pickle machine (CPython's Lib/pickletools.py describes the opcodes). Values are tags with a
 * few bytes: a string is a slice of the input, a dict is a number under which its four interesting
 * members are kept, everything foreign is OPAQUE. Nothing is copied when a value is, so references
 * cannot blow up. Runs in httpd's workers; all memory is gone on return. */
#include "session/pickle.h"
#include "core/buf.h"
#include <math.h>
#include <stdlib.h>

typedef enum kind_t {
    UNSET, /* a hole in the memo */
    MARK,
    STRING,
    INT,
    FLOAT,
    DICT,
    LIST,
    SET,
    NONE,
    PLAIN, /* numbers, booleans, bytes, tuples, frozen sets: data nobody asks for */
    OPAQUE /* stands for an object of any class */
} kind_t;

typedef struct value_t {
    uint8_t kind;
    uint32_t n; /* STRING: bytes; DICT: its number */
    union {
        const char *p;
        int64_t i;
        double d;
    } u;
} value_t;

typedef struct dict_t {
    value_t field[SSE_KEY_COUNT];
} dict_t;

typedef struct values_t {
    value_t *v;
    size_t n, cap;
} values_t;

typedef struct machine_t {
    const unsigned char *p, *end;
    values_t stack, memo;
    uint32_t
        *dicts; /* number of a dict -> 1 + its place in `kept`, 0 while it has none of the keys */
    size_t n_dicts, cap_dicts;
    dict_t *kept;
    size_t n_kept, cap_kept;
} machine_t;

static const value_t opaque = {.kind = OPAQUE}, plain = {.kind = PLAIN}, none = {.kind = NONE};

static void grow(void **p, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return;
    *cap = *cap ? *cap * 2 : 64;
    *p = sse_realloc(*p, *cap * size);
}

static bool push(machine_t *m, value_t v)
{
    if (m->stack.n == SSE_PICKLE_STACK_MAX)
        return false;
    grow((void **)&m->stack.v, &m->stack.cap, m->stack.n, sizeof(value_t));
    m->stack.v[m->stack.n++] = v;
    return true;
}

/* The value `below` under the top; NULL when the stack ends or a mark stands before or on it. */
static value_t *peek(machine_t *m, size_t below)
{
    if (below >= m->stack.n)
        return NULL;
    for (size_t i = 0; i <= below; i++)
        if (m->stack.v[m->stack.n - 1 - i].kind == MARK)
            return NULL;
    return &m->stack.v[m->stack.n - 1 - below];
}

/* Takes n values off and puts v in their place. */
static bool replace(machine_t *m, size_t n, value_t v)
{
    if (n > 0 && !peek(m, n - 1))
        return false;
    m->stack.n -= n;
    return push(m, v);
}

/* Index of the topmost mark; false if there is none. */
static bool find_mark(const machine_t *m, size_t *out)
{
    for (size_t i = m->stack.n; i > 0; i--) {
        if (m->stack.v[i - 1].kind == MARK) {
            *out = i - 1;
            return true;
        }
    }
    return false;
}

static bool pop_to_mark(machine_t *m)
{
    size_t mark;

    if (!find_mark(m, &mark))
        return false;
    m->stack.n = mark;
    return true;
}

static bool take_uint(machine_t *m, int bytes, uint64_t *out)
{
    uint64_t v = 0;

    if (m->end - m->p < bytes)
        return false;
    for (int i = bytes; i > 0; i--)
        v = (v << 8) | m->p[i - 1];
    m->p += bytes;
    *out = v;
    return true;
}

/* A length of so many bytes and that much data after it. */
static bool take_bytes(machine_t *m, int length_bytes, sse_str_t *out)
{
    uint64_t n;

    if (!take_uint(m, length_bytes, &n) || n > (uint64_t)(m->end - m->p) || n > UINT32_MAX)
        return false;
    *out = (sse_str_t){(const char *)m->p, (size_t)n};
    m->p += n;
    return true;
}

static bool take_line(machine_t *m, sse_str_t *out)
{
    const unsigned char *nl = m->p < m->end ? memchr(m->p, '\n', (size_t)(m->end - m->p)) : NULL;

    if (!nl)
        return false;
    *out = (sse_str_t){(const char *)m->p, (size_t)(nl - m->p)};
    m->p = nl + 1;
    return true;
}

static bool push_string(machine_t *m, int length_bytes)
{
    sse_str_t s;

    return take_bytes(m, length_bytes, &s) &&
           push(m, (value_t){.kind = STRING, .n = (uint32_t)s.n, .u.p = s.p});
}

static bool push_skipped(machine_t *m, int length_bytes)
{
    sse_str_t s;

    return take_bytes(m, length_bytes, &s) && push(m, plain);
}

/* Text opcodes of protocol 0: taken as they stand when they are plain ASCII, else a string that is
 * none of ours. */
static bool push_text(machine_t *m, bool quoted)
{
    sse_str_t s;

    if (!take_line(m, &s))
        return false;
    if (quoted) {
        if (s.n < 2 || (s.p[0] != '\'' && s.p[0] != '"') || s.p[s.n - 1] != s.p[0])
            return false;
        s.p++;
        s.n -= 2;
    }
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\\' || (unsigned char)s.p[i] >= 0x80)
            return push(m, plain);
    return s.n <= UINT32_MAX && push(m, (value_t){.kind = STRING, .n = (uint32_t)s.n, .u.p = s.p});
}

/* Little-endian two's complement; what does not fit into 64 bits is a number nobody asks for. */
static bool push_long(machine_t *m, int length_bytes)
{
    sse_str_t s;
    uint64_t v = 0;

    if (length_bytes == 4 && m->end - m->p >= 4 && (m->p[3] & 0x80))
        return false; /* LONG4's length is signed */
    if (!take_bytes(m, length_bytes, &s))
        return false;
    if (s.n > 8)
        return push(m, plain);
    for (size_t i = s.n; i > 0; i--)
        v = (v << 8) | (unsigned char)s.p[i - 1];
    if (s.n > 0 && s.n < 8 && (s.p[s.n - 1] & 0x80))
        v |= ~UINT64_C(0) << (8 * s.n);
    return push(m, (value_t){.kind = INT, .u.i = (int64_t)v});
}

static bool parse_decimal(sse_str_t s, int64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    int64_t v = 0;

    if (s.n == (negative ? 1u : 0u))
        return false;
    for (size_t i = negative; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s.p[i] - '0', &v))
            return false;
    }
    *out = negative ? -v : v;
    return true;
}

/* INT ("I01" and "I00" are booleans) and LONG, whose digits end in L. */
static bool push_decimal(machine_t *m, bool is_long)
{
    sse_str_t s;
    int64_t v;

    if (!take_line(m, &s))
        return false;
    if (is_long && s.n > 0 && s.p[s.n - 1] == 'L')
        s.n--;
    if (!is_long && s.n == 2 && s.p[0] == '0')
        return push(m, plain);
    if (!parse_decimal(s, &v))
        return push(m, plain);
    return push(m, (value_t){.kind = INT, .u.i = v});
}

static bool push_float(machine_t *m)
{
    uint64_t v = 0;
    value_t f = {.kind = FLOAT};

    if (m->end - m->p < 8)
        return false;
    for (int i = 0; i < 8; i++)
        v = (v << 8) | m->p[i];
    m->p += 8;
    memcpy(&f.u.d, &v, sizeof f.u.d);
    return push(m, f);
}

static bool new_dict(machine_t *m, value_t *out)
{
    grow((void **)&m->dicts, &m->cap_dicts, m->n_dicts, sizeof *m->dicts);
    m->dicts[m->n_dicts] = 0;
    *out = (value_t){.kind = DICT, .n = (uint32_t)m->n_dicts++};
    return true;
}

static bool dict_set(machine_t *m, uint32_t dict, value_t key, value_t v)
{
    sse_session_key_t k;

    if (key.kind != STRING)
        return true;
    k = sse_session_key((sse_str_t){key.u.p, key.n});
    if (k == SSE_KEY_COUNT)
        return true;
    if (m->dicts[dict] == 0) {
        if (m->n_kept == SSE_PICKLE_DICTS_MAX)
            return false;
        grow((void **)&m->kept, &m->cap_kept, m->n_kept, sizeof *m->kept);
        m->kept[m->n_kept] = (dict_t){.field = {{.kind = UNSET}}};
        m->dicts[dict] = (uint32_t)++m->n_kept;
    }
    m->kept[m->dicts[dict] - 1].field[k] = v;
    return true;
}

/* Keys and values from stack index `from` to the top, into the dict or into an opaque thing, and
 * off the stack. */
static bool set_items(machine_t *m, value_t target, size_t from, size_t new_top)
{
    if (target.kind != DICT && target.kind != OPAQUE)
        return false;
    if ((m->stack.n - from) % 2 != 0)
        return false;
    for (size_t i = from; target.kind == DICT && i < m->stack.n; i += 2)
        if (!dict_set(m, target.n, m->stack.v[i], m->stack.v[i + 1]))
            return false;
    m->stack.n = new_top;
    return true;
}

/* SETITEMS, APPENDS, ADDITEMS: a mark with a container of the given kind (or something opaque)
 * under it. */
static bool marked_items(machine_t *m, kind_t kind)
{
    size_t mark;

    if (!find_mark(m, &mark) || mark == 0)
        return false;
    if (kind == DICT)
        return set_items(m, m->stack.v[mark - 1], mark + 1, mark);
    if (m->stack.v[mark - 1].kind != kind && m->stack.v[mark - 1].kind != OPAQUE)
        return false;
    m->stack.n = mark;
    return true;
}

static bool append(machine_t *m)
{
    value_t *list = peek(m, 1);

    if (!list || (list->kind != LIST && list->kind != OPAQUE))
        return false;
    m->stack.n--;
    return true;
}

static bool dict_from_mark(machine_t *m)
{
    size_t mark;
    value_t dict;

    return find_mark(m, &mark) && new_dict(m, &dict) && set_items(m, dict, mark + 1, mark) &&
           push(m, dict);
}

/* Writers number the memo in order, some from 1: a jump beyond is no pickle of theirs and would
 * cost memory. */
static bool memo_put(machine_t *m, uint64_t index)
{
    value_t *top = peek(m, 0);

    if (!top || index > m->memo.n + 1 || index >= SSE_PICKLE_MEMO_MAX)
        return false;
    while (m->memo.n <= index) {
        grow((void **)&m->memo.v, &m->memo.cap, m->memo.n, sizeof(value_t));
        m->memo.v[m->memo.n++] = (value_t){.kind = UNSET};
    }
    m->memo.v[index] = *top;
    return true;
}

static bool memo_get(machine_t *m, uint64_t index)
{
    return index < m->memo.n && m->memo.v[index].kind != UNSET && push(m, m->memo.v[index]);
}

static bool memo_binary(machine_t *m, int bytes, bool put)
{
    uint64_t index;

    return take_uint(m, bytes, &index) && (put ? memo_put(m, index) : memo_get(m, index));
}

static bool memo_text(machine_t *m, bool put)
{
    sse_str_t s;
    int64_t index;

    return take_line(m, &s) && parse_decimal(s, &index) && index >= 0 &&
           (put ? memo_put(m, (uint64_t)index) : memo_get(m, (uint64_t)index));
}

static bool global(machine_t *m)
{
    sse_str_t module, name;

    return take_line(m, &module) && take_line(m, &name) && push(m, opaque);
}

/* BUILD sets the state of an object: only of something opaque. */
static bool build(machine_t *m)
{
    value_t *object = peek(m, 1);

    if (!object || object->kind != OPAQUE)
        return false;
    m->stack.n--;
    return true;
}

static bool push_new(machine_t *m, kind_t kind)
{
    value_t v = {.kind = (uint8_t)kind};

    return (kind != DICT || new_dict(m, &v)) && push(m, v);
}

static bool step_proto(machine_t *m)
{
    uint64_t v;
    return take_uint(m, 1, &v) && v <= 5;
}

static bool step_frame(machine_t *m)
{
    uint64_t v;
    return take_uint(m, 8, &v) && v <= (uint64_t)(m->end - m->p);
}

static bool push_int(machine_t *m, int bytes)
{
    uint64_t v;

    if (!take_uint(m, bytes, &v))
        return false;
    return push(m, (value_t){.kind = INT, .u.i = bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v});
}

static bool pop(machine_t *m)
{
    if (m->stack.n == 0)
        return false;
    m->stack.n--; /* a mark too: so CPython */
    return true;
}

static bool duplicate(machine_t *m)
{
    value_t *top = peek(m, 0);
    return top && push(m, *top);
}

/* One opcode other than STOP; a table in the shape of a switch. False ends the reading. */
/* clang-format off */
static bool step(machine_t *m, unsigned char op)
{
    sse_str_t line;

    switch (op) {
    case 0x80: return step_proto(m);
    case 0x95: return step_frame(m);
    case '(': return push(m, (value_t){.kind = MARK});
    case '0': return pop(m);
    case '1': return pop_to_mark(m);
    case '2': return duplicate(m);

    case 0x94: return memo_put(m, m->memo.n);
    case 'q': return memo_binary(m, 1, true);
    case 'r': return memo_binary(m, 4, true);
    case 'h': return memo_binary(m, 1, false);
    case 'j': return memo_binary(m, 4, false);
    case 'p': return memo_text(m, true);
    case 'g': return memo_text(m, false);

    case 0x8c: return push_string(m, 1);
    case 'X': return push_string(m, 4);
    case 0x8d: return push_string(m, 8);
    case 'U': return push_string(m, 1);
    case 'T': return push_string(m, 4);
    case 'V': return push_text(m, false);
    case 'S': return push_text(m, true);

    case '}': return push_new(m, DICT);
    case 's': return peek(m, 2) && set_items(m, *peek(m, 2), m->stack.n - 2, m->stack.n - 2);
    case 'u': return marked_items(m, DICT);
    case 'd': return dict_from_mark(m);

    case 'K': return push_int(m, 1);
    case 'M': return push_int(m, 2);
    case 'J': return push_int(m, 4);
    case 0x8a: return push_long(m, 1);
    case 0x8b: return push_long(m, 4);
    case 'G': return push_float(m);
    case 'I': return push_decimal(m, false);
    case 'L': return push_decimal(m, true);
    case 'F': return take_line(m, &line) && push(m, plain);

    case 'N': return push(m, none);
    case 0x88: return push(m, plain);
    case 0x89: return push(m, plain);

    case ']': return push_new(m, LIST);
    case 'a': return append(m);
    case 'e': return marked_items(m, LIST);
    case 'l': return pop_to_mark(m) && push_new(m, LIST);
    case ')': return push(m, plain);
    case 0x85: return replace(m, 1, plain);
    case 0x86: return replace(m, 2, plain);
    case 0x87: return replace(m, 3, plain);
    case 't': return pop_to_mark(m) && push(m, plain);
    case 0x8f: return push_new(m, SET);
    case 0x90: return marked_items(m, SET);
    case 0x91: return pop_to_mark(m) && push(m, plain);

    case 'C': return push_skipped(m, 1);
    case 'B': return push_skipped(m, 4);
    case 0x8e: return push_skipped(m, 8);
    case 0x96: return push_skipped(m, 8);

    case 'c': return global(m);
    case 0x93: return replace(m, 2, opaque);
    case 'R': return replace(m, 2, opaque);
    case 0x81: return replace(m, 2, opaque);
    case 0x92: return replace(m, 3, opaque);
    case 'b': return build(m);

    /* PERSID, BINPERSID, INST, OBJ, EXT1-4, buffers out of band, and what is no opcode. */
    default: return false;
    }
}

/* clang-format on */

/* Runs to STOP; the one value left is *out. The machine is the caller's to clear. */
static bool run(machine_t *m, sse_str_t in, value_t *out)
{
    m->p = (const unsigned char *)in.p;
    m->end = m->p + in.n;
    for (size_t steps = 0; steps < SSE_PICKLE_STEPS_MAX && m->p < m->end; steps++) {
        unsigned char op = *m->p++;
        if (op == '.') {
            value_t *top = peek(m, 0);
            if (!top)
                return false;
            *out = *top;
            return true;
        }
        if (!step(m, op))
            return false;
    }
    return false;
}

static void clear(machine_t *m)
{
    free(m->stack.v);
    free(m->memo.v);
    free(m->dicts);
    free(m->kept);
}

static sse_field_t field_of(value_t v)
{
    sse_field_t f = {.type = SSE_FIELD_OTHER};

    switch ((kind_t)v.kind) {
    case UNSET:
        f.type = SSE_FIELD_ABSENT;
        break;
    case STRING:
        f.type = SSE_FIELD_STRING;
        f.s = (sse_str_t){v.u.p, v.n};
        break;
    case INT:
        f.type = SSE_FIELD_INT;
        f.i = v.u.i;
        break;
    case NONE:
        f.type = SSE_FIELD_NULL;
        break;
    default:
        break;
    }
    return f;
}

apr_status_t sse_pickle_read(sse_str_t in, apr_pool_t *pool, sse_session_data_t *out)
{
    machine_t m = {0};
    value_t top;
    bool good = in.n > 0 && in.n <= SSE_SESSION_DATA_MAX && run(&m, in, &top) && m.p == m.end &&
                top.kind == DICT;

    if (good) {
        *out = (sse_session_data_t){0};
        for (int k = 0; m.dicts[top.n] != 0 && k < SSE_KEY_COUNT; k++)
            out->field[k] = field_of(m.kept[m.dicts[top.n] - 1].field[k]);
    }
    clear(&m);
    return good ? APR_SUCCESS : APR_EINVAL;
}

apr_status_t sse_pickle_read_float(sse_str_t in, double *out, size_t *out_used)
{
    machine_t m = {0};
    value_t top;
    bool good = in.n > 0 && run(&m, in, &top) && (top.kind == FLOAT || top.kind == NONE);

    if (good) {
        *out = top.kind == FLOAT ? top.u.d : INFINITY;
        *out_used = (size_t)(m.p - (const unsigned char *)in.p);
    }
    clear(&m);
    return good ? APR_SUCCESS : APR_EINVAL;
}

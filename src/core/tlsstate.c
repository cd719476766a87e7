/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a TLS connection's writing side to bytes and back, integers little-endian as in
 * wire.c. Stateless; any thread. */
#include "core/tlsstate.h"

size_t sse_tlsstate_key_len(uint8_t cipher)
{
    switch (cipher) {
    case SSE_TLS_AES_128_GCM:
        return 16;
    case SSE_TLS_AES_256_GCM:
    case SSE_TLS_CHACHA20_POLY1305:
        return 32;
    default:
        return 0;
    }
}

static unsigned char *put(unsigned char *p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *p++ = (unsigned char)(v >> (8 * i));
    return p;
}

static uint64_t get(const unsigned char **p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t) * (*p)++ << (8 * i);
    return v;
}

void sse_tlsstate_pack(const sse_tlsstate_t *state, unsigned char out[SSE_TLSSTATE_LEN])
{
    unsigned char *p = out;
    p = put(p, state->version, 2);
    p = put(p, state->cipher, 1);
    p = put(p, state->max_fragment, 2);
    p = put(p, state->seq, 8);
    memcpy(p, state->key, SSE_TLS_KEY_MAX);
    memcpy(p + SSE_TLS_KEY_MAX, state->iv, SSE_TLS_IV_LEN);
}

apr_status_t sse_tlsstate_unpack(sse_str_t packed, sse_tlsstate_t *out_state)
{
    const unsigned char *p = (const unsigned char *)packed.p;
    if (packed.n != SSE_TLSSTATE_LEN)
        return APR_EINVAL;
    uint16_t version = (uint16_t)get(&p, 2);
    uint8_t cipher = (uint8_t)get(&p, 1);
    uint16_t max_fragment = (uint16_t)get(&p, 2);
    uint64_t seq = get(&p, 8);
    if ((version != SSE_TLS_1_2 && version != SSE_TLS_1_3) || !sse_tlsstate_key_len(cipher) ||
        max_fragment < SSE_TLS_FRAGMENT_MIN || max_fragment > SSE_TLS_FRAGMENT_MAX)
        return APR_EINVAL;
    out_state->version = version;
    out_state->cipher = cipher;
    out_state->max_fragment = max_fragment;
    out_state->seq = seq;
    memcpy(out_state->key, p, SSE_TLS_KEY_MAX);
    memcpy(out_state->iv, p + SSE_TLS_KEY_MAX, SSE_TLS_IV_LEN);
    return APR_SUCCESS;
}

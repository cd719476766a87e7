/* SPDX-License-Identifier: Apache-2.0 */
/* TLS records of one stream, sealed by the hub in httpd's place (RFC 8446 5.2, RFC 5288, RFC 7905).
 *
 * The rule that everything here serves: a (key, sequence number) pair never seals two different
 * plaintexts. A record's boundaries are fixed when it is sealed for the first time; until its last
 * byte is sent, the same plaintext is sealed again under the same number, which gives the same
 * bytes, so that no ciphertext has to be kept for a slow reader. The caller's queue must therefore
 * keep the first sse_tlsrecord_begun bytes as they are.
 *
 * Both kinds of object belong to a reactor's thread; a record state is made by the control loop and
 * handed over. */
#ifndef SSE_TLSRECORD_H
#define SSE_TLSRECORD_H

#include "core/tlsstate.h"
#include <sys/uio.h>

/* Ciphers of a reactor and the room for one sealed record. */
typedef struct sse_tlssealer_t sse_tlssealer_t;
/* The writing side of one stream's TLS connection, under 100 bytes. */
typedef struct sse_tlsrecord_t sse_tlsrecord_t;

#define SSE_TLS_APPLICATION_DATA 23
#define SSE_TLS_ALERT 21

sse_tlssealer_t *sse_tlssealer_create(void);
void sse_tlssealer_destroy(sse_tlssealer_t *sealer);
/* Forgets the last stream's key: to be called when a batch of records is through. */
void sse_tlssealer_rest(sse_tlssealer_t *sealer);

sse_tlsrecord_t *sse_tlsrecord_create(const sse_tlsstate_t *state);
void sse_tlsrecord_destroy(sse_tlsrecord_t *t); /* wipes; NULL is fine */

/* Seals the record that is under way again, or begins one of the given type with up to a record's
 * length of the plaintext. *out_wire is what is still to be sent of it and lives until the next
 * call. APR_ENOSPC: the key has sealed as much as it may. APR_EGENERAL: the cipher failed, or the
 * plaintext is shorter than what was begun. The stream must be closed after either. */
apr_status_t sse_tlsrecord_seal(sse_tlssealer_t *sealer, sse_tlsrecord_t *t, uint8_t type,
                                const struct iovec *plain, size_t n, struct iovec *out_wire);
/* `wire` bytes of what seal gave were sent. Returns the bytes of plaintext in the record when that
 * finished it, else 0. */
size_t sse_tlsrecord_sent(sse_tlsrecord_t *t, size_t wire);
/* Bytes of plaintext in the record that is under way; 0: none is. */
size_t sse_tlsrecord_begun(const sse_tlsrecord_t *t);
size_t sse_tlsrecord_max_fragment(const sse_tlsrecord_t *t);
/* The key has nearly sealed what it may: time to end the stream. */
bool sse_tlsrecord_spent(const sse_tlsrecord_t *t);

#endif

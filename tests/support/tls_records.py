# SPDX-License-Identifier: Apache-2.0
"""The far end of a TLS connection whose writing side the hub holds: makes a state as a worker would send it (core/tlsstate.h) and
opens the records that the hub seals with it. Every record must have the next number and no other."""

import os
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305 = 1, 2, 3
SUITES = [(version, cipher) for version in (TLS_1_2, TLS_1_3) for cipher in (AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305)]

_KEY_LEN = {AES_128_GCM: 16, AES_256_GCM: 32, CHACHA20_POLY1305: 32}
_ALERT, _DATA = 21, 23
_HEADER = 5
_TAG = 16


class TlsReader:
    def __init__(self, version, cipher, max_fragment=16384, seq=1):
        self.version, self.cipher, self.max_fragment, self.seq = version, cipher, max_fragment, seq
        self.key = os.urandom(_KEY_LEN[cipher])
        self.iv = os.urandom(12)
        self.explicit = version == TLS_1_2 and cipher != CHACHA20_POLY1305
        self.state = struct.pack("<HBHQ32s12s", version, cipher, max_fragment, seq, self.key, self.iv)
        self.closed = False  # close_notify has come
        self.records = 0
        self._aead = (ChaCha20Poly1305 if cipher == CHACHA20_POLY1305 else AESGCM)(self.key)
        self._counter = int.from_bytes(self.iv[4:], "big")
        self._buffer = b""

    def feed(self, data):
        """The plaintext of the records that are complete now."""
        self._buffer += data
        plain = b""
        while len(self._buffer) >= _HEADER:
            kind, version, n = struct.unpack(">BHH", self._buffer[:_HEADER])
            assert version == 0x0303, self._buffer[:_HEADER]
            if len(self._buffer) < _HEADER + n:
                break
            header, sealed = self._buffer[:_HEADER], self._buffer[_HEADER : _HEADER + n]
            self._buffer = self._buffer[_HEADER + n :]
            assert not self.closed, "a record behind close_notify"
            plain += self._open(kind, header, sealed)
        return plain

    def _open(self, kind, header, sealed):
        nonce = self.iv
        if self.explicit:
            counter = ((self._counter + self.records) % (1 << 64)).to_bytes(8, "big")
            assert sealed[:8] == counter, "the nonce is not the one that follows"
            nonce, sealed = self.iv[:4] + counter, sealed[8:]
        else:
            nonce = bytes(a ^ b for a, b in zip(self.iv, b"\0\0\0\0" + self.seq.to_bytes(8, "big")))
        if self.version == TLS_1_3:
            assert kind == _DATA
            plain = self._aead.decrypt(nonce, sealed, header)
            plain, kind = plain[:-1], plain[-1]
        else:
            plain = self._aead.decrypt(nonce, sealed, self.seq.to_bytes(8, "big") + header[:3] + struct.pack(">H", len(sealed) - _TAG))
        assert 0 < len(plain) <= self.max_fragment
        self.seq += 1
        self.records += 1
        if kind == _ALERT:
            assert plain == b"\1\0", plain
            self.closed = True
            return b""
        assert kind == _DATA, kind
        return plain

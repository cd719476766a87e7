/* SPDX-License-Identifier: Apache-2.0 */
/* What a server has used: processes and all their descendants, read from /proc at one moment. */
#ifndef LOAD_PROCS_H
#define LOAD_PROCS_H

#include <stdint.h>
#include <sys/types.h>

enum { LOAD_MAX_ROOTS = 16, LOAD_MAX_KINDS = 8 };

/* The server's first processes; unused entries are 0. */
typedef struct load_roots_t {
    pid_t pid[LOAD_MAX_ROOTS];
} load_roots_t;

/* Processes of one name. */
typedef struct load_kind_t {
    char name[16];
    uint64_t cpu_ns;
} load_kind_t;

typedef struct load_procs_t {
    uint64_t cpu_ns; /* time on a CPU of all threads, user and system */
    uint64_t pss; /* proportional set size in bytes: shared pages count once over all processes */
    uint64_t kernel; /* host-wide: slab memory and TCP buffers, in bytes; both ends of every
                        loopback socket */
    unsigned n_processes;
    load_kind_t kinds[LOAD_MAX_KINDS]; /* cpu_ns by name; what does not fit is in the last one */
    unsigned n_kinds;
} load_procs_t;

/* Adds what was used from one moment to another to `sum`. */
void load_procs_add(load_procs_t *sum, const load_procs_t *from, const load_procs_t *to);
/* CPU only: cheap enough for the edges of a timed phase. No root gives zeros. */
void load_procs_cpu(const load_roots_t *roots, load_procs_t *out_procs);
/* CPU and memory: reading PSS walks page tables and takes milliseconds. */
void load_procs_all(const load_roots_t *roots, load_procs_t *out_procs);

#endif

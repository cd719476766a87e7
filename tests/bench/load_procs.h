/* SPDX-License-Identifier: Apache-2.0 */
/* What a server has used: a process and all its descendants, read from /proc at one moment. */
#ifndef LOAD_PROCS_H
#define LOAD_PROCS_H

#include <stdint.h>
#include <sys/types.h>

typedef struct load_procs_t {
    uint64_t cpu_ns; /* time on a CPU of all threads, user and system */
    uint64_t pss; /* proportional set size in bytes: shared pages count once over all processes */
    uint64_t kernel; /* host-wide: slab memory and TCP buffers, in bytes; both ends of every
                        loopback socket */
    unsigned n_processes;
} load_procs_t;

/* CPU only: cheap enough for the edges of a timed phase. `root` = 0 gives zeros. */
void load_procs_cpu(pid_t root, load_procs_t *out_procs);
/* CPU and memory: reading PSS walks page tables and takes milliseconds. */
void load_procs_all(pid_t root, load_procs_t *out_procs);

#endif

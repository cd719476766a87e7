/* SPDX-License-Identifier: Apache-2.0 */
/* Reads CPU time and memory of a process tree from /proc. CPU comes from each thread's schedstat,
 * since the clock ticks of /proc/PID/stat are too coarse for a phase of a second. Called by the
 * load client's one thread between phases. */
#include "load_procs.h"

#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PROCESSES = 256 };

typedef struct proc_t {
    pid_t pid;
    pid_t parent;
} proc_t;

static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    int parent = -1;
    if (fgets(line, sizeof(line), f)) {
        const char *end = strrchr(line, ')'); /* the name may hold blanks and brackets */
        if (end)
            sscanf(end + 1, " %*c %d", &parent);
    }
    fclose(f);
    return parent;
}

static size_t list_tree(const load_roots_t *roots, pid_t *out_pids)
{
    static proc_t all[32768];
    size_t n_all = 0, n = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        err(1, "/proc");
    for (struct dirent *e; (e = readdir(dir)) && n_all < sizeof(all) / sizeof(*all);) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        pid_t pid = (pid_t)atol(e->d_name);
        all[n_all++] = (proc_t){pid, parent_of(pid)};
    }
    closedir(dir);
    for (size_t i = 0; i < LOAD_MAX_ROOTS; i++) {
        if (roots->pid[i])
            out_pids[n++] = roots->pid[i];
    }
    for (size_t done = 0; done < n; done++) {
        for (size_t i = 0; i < n_all && n < MAX_PROCESSES; i++) {
            if (all[i].parent == out_pids[done])
                out_pids[n++] = all[i].pid;
        }
    }
    return n;
}

static uint64_t thread_cpu(pid_t pid, const char *tid)
{
    char path[320];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, tid);
    FILE *f = fopen(path, "re");
    uint64_t ns = 0;
    if (!f)
        return 0;
    if (fscanf(f, "%" SCNu64, &ns) != 1)
        ns = 0;
    fclose(f);
    return ns;
}

static uint64_t process_cpu(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    uint64_t ns = 0;
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (isdigit((unsigned char)e->d_name[0]))
            ns += thread_cpu(pid, e->d_name);
    }
    closedir(dir);
    return ns;
}

static load_kind_t *kind_of(load_procs_t *procs, const char *name)
{
    for (unsigned i = 0; i < procs->n_kinds; i++)
        if (!strcmp(procs->kinds[i].name, name))
            return &procs->kinds[i];
    if (procs->n_kinds == LOAD_MAX_KINDS)
        return &procs->kinds[LOAD_MAX_KINDS - 1];
    load_kind_t *kind = &procs->kinds[procs->n_kinds++];
    snprintf(kind->name, sizeof(kind->name), "%s", name);
    return kind;
}

static void add_to_kind(load_procs_t *procs, pid_t pid, uint64_t cpu_ns)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fgets(name, sizeof(name), f)) {
        name[strcspn(name, "\n")] = 0;
        kind_of(procs, name)->cpu_ns += cpu_ns;
    }
    fclose(f);
}

void load_procs_add(load_procs_t *sum, const load_procs_t *from, const load_procs_t *to)
{
    sum->cpu_ns += to->cpu_ns - from->cpu_ns;
    for (unsigned i = 0; i < to->n_kinds; i++) {
        uint64_t before = 0;
        for (unsigned k = 0; k < from->n_kinds; k++)
            if (!strcmp(from->kinds[k].name, to->kinds[i].name))
                before = from->kinds[k].cpu_ns;
        kind_of(sum, to->kinds[i].name)->cpu_ns += to->kinds[i].cpu_ns - before;
    }
}

/* The number after `name` in a file of "Name:  123 kB" lines, in bytes. */
static uint64_t kib_of(const char *path, const char *name)
{
    char line[256];
    size_t len = strlen(name);
    uint64_t kib = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f)) {
        if (!strncmp(line, name, len) && line[len] == ':') {
            kib = strtoull(line + len + 1, NULL, 10);
            break;
        }
    }
    fclose(f);
    return kib * 1024;
}

static uint64_t tcp_buffers(void)
{
    char line[256];
    uint64_t pages = 0;
    FILE *f = fopen("/proc/net/sockstat", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f)) {
        const char *mem = strstr(line, " mem ");
        if (!strncmp(line, "TCP:", 4) && mem)
            pages = strtoull(mem + 5, NULL, 10);
    }
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void read_tree(const load_roots_t *roots, bool memory, load_procs_t *out_procs)
{
    pid_t pids[MAX_PROCESSES];
    load_procs_t sum = {0};
    size_t n = list_tree(roots, pids);
    for (size_t i = 0; i < n; i++) {
        uint64_t cpu_ns = process_cpu(pids[i]);
        sum.cpu_ns += cpu_ns;
        add_to_kind(&sum, pids[i], cpu_ns);
        if (memory) {
            char path[64];
            snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pids[i]);
            sum.pss += kib_of(path, "Pss");
        }
    }
    if (memory)
        sum.kernel = kib_of("/proc/meminfo", "Slab") + tcp_buffers();
    sum.n_processes = (unsigned)n;
    *out_procs = sum;
}

void load_procs_cpu(const load_roots_t *roots, load_procs_t *out_procs)
{
    read_tree(roots, false, out_procs);
}

void load_procs_all(const load_roots_t *roots, load_procs_t *out_procs)
{
    read_tree(roots, true, out_procs);
}

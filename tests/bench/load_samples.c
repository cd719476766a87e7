/* SPDX-License-Identifier: Apache-2.0 */
/* Latency samples of the load client. One thread, no locks: they are printed after the phase that
 * filled them. */
#include "load_samples.h"

#include <err.h>
#include <stdlib.h>
#include <time.h>

uint64_t load_samples_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void load_samples_add(load_samples_t *samples, uint64_t ns)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 4096;
        samples->us = realloc(samples->us, samples->room * sizeof(*samples->us));
        if (!samples->us)
            err(1, "samples");
    }
    uint64_t us = ns / 1000;
    samples->us[samples->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void load_samples_clear(load_samples_t *samples)
{
    free(samples->us);
    *samples = (load_samples_t){0};
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void load_samples_print(load_samples_t *samples, FILE *out)
{
    size_t n = samples->count;
    if (!n) {
        fputs("{\"count\": 0}", out);
        return;
    }
    qsort(samples->us, n, sizeof(*samples->us), compare);
    fprintf(out, "{\"count\": %zu, \"p50\": %u, \"p99\": %u, \"max\": %u}", n,
            samples->us[(n - 1) / 2], samples->us[(n - 1) * 99 / 100], samples->us[n - 1]);
}

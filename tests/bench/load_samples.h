/* SPDX-License-Identifier: Apache-2.0 */
/* A growing array of measured times, in microseconds, and its percentiles. Owned by whoever
 * declares it; one thread. */
#ifndef LOAD_SAMPLES_H
#define LOAD_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct load_samples_t {
    uint32_t *us;
    size_t count;
    size_t room;
} load_samples_t;

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t load_samples_now(void);

void load_samples_add(load_samples_t *samples, uint64_t ns);
void load_samples_clear(load_samples_t *samples);

/* Sorts, then writes {"count":…,"p50":…,"p99":…,"max":…} in microseconds; {"count":0} when there is
 * none. */
void load_samples_print(load_samples_t *samples, FILE *out);

#endif

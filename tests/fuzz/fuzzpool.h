/* SPDX-License-Identifier: Apache-2.0 */
/* One APR pool for all inputs of a fuzz target: the target clears it after each. */
#ifndef SSE_FUZZPOOL_H
#define SSE_FUZZPOOL_H

#include "fuzz.h"

#include <apr_general.h>
#include <apr_pools.h>

static inline apr_pool_t *fuzzpool(void)
{
    static apr_pool_t *pool;

    if (!pool) {
        CHECK(apr_initialize() == APR_SUCCESS);
        CHECK(apr_pool_create(&pool, NULL) == APR_SUCCESS);
    }
    return pool;
}

#endif

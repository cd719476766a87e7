/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the driver of a broker URL: a built-in one, or a shared object of the driver directory.
 * Runs once, when the hub starts; a loaded object stays until the process ends. */
#include "broker/broker.h"

#include "broker/local.h"
#include "broker/redis.h"
#include "core/buf.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEM_SIZE 256

static const sse_broker_driver_t *const built_in[] = {&sse_local_driver, &sse_redis_driver};

/* "redis+sentinel://..." -> "redis"; a URL without scheme is one itself ("local"). */
static sse_str_t driver_name(const char *url)
{
    return (sse_str_t){url, strcspn(url, "+:")};
}

static bool plain_name(sse_str_t name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789", name.p[i]))
            return false;
    return name.n > 0 && name.n <= 32;
}

static const sse_broker_driver_t *find_built_in(sse_str_t name)
{
    for (size_t i = 0; i < SSE_ARRAY_LEN(built_in); i++) {
        sse_str_t scheme = sse_str(built_in[i]->scheme);
        /* "rediss": the same driver over TLS. */
        if (sse_str_eq(name, scheme) || (name.n == scheme.n + 1 && name.p[scheme.n] == 's' &&
                                         memcmp(name.p, scheme.p, scheme.n) == 0))
            return built_in[i];
    }
    return NULL;
}

static const sse_broker_driver_t *load(const char *dir, sse_str_t name, char *problem)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/sse_broker_%.*s.so", dir, (int)name.n, name.p);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        snprintf(problem, PROBLEM_SIZE, "the broker driver directory's path is too long");
        return NULL;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        snprintf(problem, PROBLEM_SIZE, "no broker driver \"%.*s\": %s", (int)name.n, name.p,
                 dlerror());
        return NULL;
    }
    const sse_broker_driver_t *driver = dlsym(object, "sse_broker_driver");
    if (!driver)
        snprintf(problem, PROBLEM_SIZE, "%.180s defines no sse_broker_driver", path);
    else if (driver->abi != SSE_BROKER_ABI)
        snprintf(problem, PROBLEM_SIZE,
                 "%.150s speaks version %d of the broker contract, this hub version %d", path,
                 driver->abi, SSE_BROKER_ABI);
    if (!driver || driver->abi != SSE_BROKER_ABI) {
        dlclose(object);
        return NULL;
    }
    return driver;
}

apr_status_t sse_broker_create(const sse_broker_env_t *env, const char *url,
                               sse_broker_t **out_broker, char *problem)
{
    sse_str_t name = driver_name(url);
    if (!plain_name(name)) {
        snprintf(problem, PROBLEM_SIZE, "the broker is neither \"local\" nor a URL");
        return APR_EINVAL;
    }
    const sse_broker_driver_t *driver = find_built_in(name);
    if (!driver && env->conf->driver_dir && *env->conf->driver_dir)
        driver = load(env->conf->driver_dir, name, problem);
    else if (!driver)
        snprintf(problem, PROBLEM_SIZE, "no broker driver \"%.*s\"", (int)name.n, name.p);
    return driver ? driver->create(env, url, out_broker, problem) : APR_EINVAL;
}

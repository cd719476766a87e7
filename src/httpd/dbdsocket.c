/* SPDX-License-Identifier: Apache-2.0 */
/* Each driver of apr_dbd hands out its library's connection object; the library says its socket. */
#include "httpd/dbdsocket.h"

#include <dlfcn.h>

typedef int (*socket_fn)(void *connection);

static const struct {
    const char *driver, *library, *function;
} libraries[] = {
    {"pgsql", "libpq.so.5", "PQsocket"},
    {"mysql", "libmariadb.so.3", "mysql_get_socket"},
};

int sse_dbdsocket_of(const ap_dbd_t *dbd)
{
    const char *driver = apr_dbd_name(dbd->driver);
    void *connection = apr_dbd_native_handle(dbd->driver, dbd->handle);
    int fd = -1;
    for (size_t i = 0; connection && i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        if (strcmp(driver, libraries[i].driver))
            continue;
        void *library = dlopen(libraries[i].library, RTLD_LAZY | RTLD_NOLOAD);
        if (!library)
            continue;
        socket_fn socket_of;
        *(void **)&socket_of = dlsym(library, libraries[i].function);
        if (socket_of)
            fd = socket_of(connection);
        dlclose(library);
    }
    return fd;
}

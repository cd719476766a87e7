/* SPDX-License-Identifier: Apache-2.0 */
/* What configtest can say about mod_dbd's DBDParams before anybody waits for a database: a SQLite
 * file that is not there (the driver would make an empty one) and parameters without a time-out
 * (mod_dbd itself waits for ever). Runs while httpd reads its configuration. */
#include "session/session.h"
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *sqlite_problem(const char *path, apr_pool_t *pool)
{
    static const char magic[] = "SQLite format 3"; /* with its NUL: 16 bytes */
    char head[sizeof magic];
    struct stat st;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return apr_psprintf(pool, "the SQLite file \"%s\" cannot be opened: %s", path,
                            strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return apr_psprintf(pool, "\"%s\" is not a regular file", path);
    }
    n = read(fd, head, sizeof head);
    close(fd);
    if (n != (ssize_t)sizeof head || memcmp(head, magic, sizeof magic) != 0)
        return apr_psprintf(pool,
                            "\"%s\" is not a SQLite database (an empty file may have been made by "
                            "an earlier start without one)",
                            path);
    return NULL;
}

const char *sse_session_dbparams_problem(const char *driver, const char *params, apr_pool_t *pool,
                                         bool *out_fatal)
{
    const char *problem = NULL;

    *out_fatal = false;
    if (strcmp(driver, "sqlite3") == 0) {
        problem = sqlite_problem(params ? params : "", pool);
        *out_fatal = problem != NULL;
    } else if (strcmp(driver, "pgsql") == 0) {
        if (!params || !strstr(params, "connect_timeout") ||
            (!strstr(params, "statement_timeout") && !strstr(params, "tcp_user_timeout")))
            problem = "no time-outs: add connect_timeout=2 tcp_user_timeout=3000 options='-c "
                      "statement_timeout=3000', or a look-up may wait for ever";
    } else if (strcmp(driver, "mysql") == 0) {
        if (!params || !strstr(params, "group="))
            problem =
                "no time-out: add group=NAME and set connect-timeout in the section [NAME] of "
                "my.cnf, or a look-up may wait for ever";
    } else {
        problem = apr_psprintf(pool,
                               "the driver \"%s\" is not known here; allowed are sqlite3, pgsql "
                               "and mysql",
                               driver);
        *out_fatal = true;
    }
    return problem;
}

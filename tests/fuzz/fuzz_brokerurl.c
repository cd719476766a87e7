/* SPDX-License-Identifier: Apache-2.0 */
/* Broker URLs: whatever is taken has a prefix and either hosts or a path; whatever is not has a
 * sentence. */
#include "fuzz.h"

#include "core/brokerurl.h"

const char sse_fuzz_name[] = "brokerurl";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sse_brokerurl_t url;
    char problem[256] = "";
    if (sse_brokerurl_parse((sse_str_t){(const char *)data, size}, &url, problem) == APR_SUCCESS) {
        CHECK(url.prefix != NULL && strlen(url.prefix) <= 64);
        CHECK((url.path != NULL) == (url.n_hosts == 0));
        CHECK((url.master != NULL) == (url.kind == SSE_BROKERURL_SENTINEL));
        for (size_t i = 0; i < url.n_hosts; i++)
            CHECK(url.hosts[i].port != 0 && *url.hosts[i].name);
        sse_brokerurl_clear(&url);
    } else {
        CHECK(problem[0] != '\0' && memchr(problem, '\0', sizeof(problem)));
    }
    return 0;
}

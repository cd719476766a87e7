/* SPDX-License-Identifier: Apache-2.0 */
/* What tls.h promises where the module was built without mod_ssl's hooks. */
#include "httpd/tls.h"

void sse_tls_register_hooks(void) {}

const char *sse_tls_problem(request_rec *r)
{
    return "the module was built without mod_ssl's header";
}

sse_tls_hand_t *sse_tls_begin(request_rec *r)
{
    return NULL;
}

apr_status_t sse_tls_finish(sse_tls_hand_t *hand, sse_str_t tail, sse_tlsstate_t *out)
{
    return APR_ENOTIMPL;
}

void sse_tls_let_go(sse_tls_hand_t *hand) {}

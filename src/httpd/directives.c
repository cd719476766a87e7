/* SPDX-License-Identifier: Apache-2.0 */
/* The table of directives that httpd reads: names, arguments, where each may stand. */
#include "httpd/directives.h"

#define NUMBER(member, min, max, unit)                                                             \
    (void *)&(const sse_number_t)                                                                  \
    {                                                                                              \
        offsetof(sse_hubconf_t, member), min, max, unit                                            \
    }

/* RSRC_CONF lets a directive stand outside sections; the handlers of these refuse <VirtualHost>. */
#define SERVER RSRC_CONF
/* Everywhere but in .htaccess files. */
#define LOCATION (RSRC_CONF | ACCESS_CONF)

const command_rec sse_directives[] = {
    AP_INIT_TAKE1("SSEBroker", sse_directive_broker, NULL, SERVER,
                  "the broker: local, a URL, or file:/path with the URL on the first line"),
    AP_INIT_TAKE1("SSEStateDir", sse_directive_state_dir, NULL, SERVER,
                  "directory of the embedded database and the admin key"),
    AP_INIT_TAKE1("SSEDriverDir", sse_directive_driver_dir, NULL, SERVER,
                  "where broker drivers that are shared objects lie"),
    AP_INIT_TAKE1("SSEHubProgram", sse_directive_hub_program, NULL, SERVER,
                  "path of the sse-hub program"),
    AP_INIT_TAKE123("SSEAdminSocket", sse_directive_admin_socket, NULL, SERVER,
                    "path of the admin socket, or none; then its mode and group"),
    AP_INIT_TAKE1("SSEDurability", sse_directive_durability, NULL, SERVER,
                  "embedded broker: normal (survives kill -9) or full (survives power loss)"),
    AP_INIT_TAKE1("SSEHubThreads", sse_directive_number, NUMBER(threads, 1, 64, "threads"), SERVER,
                  "reactor threads of the hub"),
    AP_INIT_TAKE12("SSEHistory", sse_directive_history, NULL, SERVER,
                   "messages kept for replay per channel, and for how many seconds"),
    AP_INIT_TAKE1("SSEHeartbeat", sse_directive_number, NUMBER(heartbeat, 0, 3600, "seconds"),
                  SERVER, "seconds between comment lines on an idle stream; 0 is off"),
    AP_INIT_TAKE1("SSERetry", sse_directive_number, NUMBER(retry, 100, 3600000, "milliseconds"),
                  SERVER, "milliseconds that a client waits before it comes back"),
    AP_INIT_TAKE1("SSEMaxAge", sse_directive_number, NUMBER(max_age, 1, 2592000, "seconds"), SERVER,
                  "seconds after which a stream is ended and begun anew"),
    AP_INIT_TAKE1("SSEMaxStreams", sse_directive_number,
                  NUMBER(max_streams, 1, 10000000, "streams"), SERVER, "streams on this host"),
    AP_INIT_TAKE1("SSEMaxStreamsPerUser", sse_directive_number,
                  NUMBER(max_streams_per_user, 1, 1000000, "streams"), SERVER,
                  "streams of one user; the oldest is closed for the newest"),
    AP_INIT_TAKE1("SSEMaxStreamsPerHost", sse_directive_number,
                  NUMBER(max_streams_per_host, 0, 10000000, "streams"), SERVER,
                  "streams of one client address; 0 is no limit"),
    AP_INIT_TAKE1("SSEStreamBuffer", sse_directive_number,
                  NUMBER(stream_buffer, 4096, 1073741824, "bytes"), SERVER,
                  "unsent bytes that a slow client may pile up"),
    AP_INIT_TAKE1("SSEMaxMessageSize", sse_directive_number,
                  NUMBER(max_message_size, 1, 16777216, "bytes"), SERVER,
                  "the largest message that may be published"),
    AP_INIT_TAKE1("SSEPresenceGrace", sse_directive_number,
                  NUMBER(presence_grace, 0, 3600, "seconds"), SERVER,
                  "seconds that a user is still online after the last stream ended"),
    AP_INIT_TAKE1("SSEParkedStreams", sse_directive_number,
                  NUMBER(parked_streams, 0, 1000000, "streams"), SERVER,
                  "streams that may hold a thread (HTTP/2)"),
    AP_INIT_FLAG("SSETLSHandoff", sse_directive_tls_handoff, NULL, SERVER,
                 "hand TLS streams to the hub where every check passes"),

    AP_INIT_TAKE1("SSERealm", sse_directive_realm, NULL, LOCATION,
                  "the realm of this stream or admin location"),
    AP_INIT_TAKE12("SSESession", sse_directive_session, NULL, LOCATION,
                   "how the session cookie becomes a user: an engine and its argument"),
    AP_INIT_TAKE1("SSEDjangoConfig", sse_directive_django_config, NULL, LOCATION,
                  "JSON written by manage.py sse_config"),
    AP_INIT_TAKE1("SSESessionCookie", sse_directive_session_cookie, NULL, LOCATION,
                  "name of the session cookie"),
    AP_INIT_TAKE1("SSESecretKeyFile", sse_directive_secret_key_file, NULL, LOCATION,
                  "file with Django's SECRET_KEY and, on further lines, its fallbacks"),
    AP_INIT_TAKE1("SSESessionCache", sse_directive_session_cache, NULL, LOCATION,
                  "seconds that a positive look-up may be reused"),
    AP_INIT_FLAG("SSEAnonymous", sse_directive_anonymous, NULL, LOCATION,
                 "On lets streams open without a user"),
    AP_INIT_TAKE_ARGV("SSEAllowEvents", sse_directive_allow_events, NULL, LOCATION,
                      "patterns of the events that a client may name itself"),
    AP_INIT_TAKE_ARGV("SSEAllowOrigin", sse_directive_allow_origin, NULL, LOCATION,
                      "CORS origins that may open the stream"),
    AP_INIT_TAKE1("SSEAdminKeyFile", sse_directive_admin_key_file, NULL, LOCATION,
                  "file with the keys of the admin handler, one a line"),
    {NULL},
};

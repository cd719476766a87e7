/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker driver: one hub, fan-out in process, everything that must last in SQLite
 * under SSEStateDir. URL: "local". */
#ifndef SSE_LOCAL_H
#define SSE_LOCAL_H

#include "broker/broker.h"

extern const sse_broker_driver_t sse_local_driver;

#endif

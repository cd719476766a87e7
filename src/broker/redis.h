/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis driver. */
#ifndef SSE_REDIS_H
#define SSE_REDIS_H

#include "broker/broker.h"

extern const sse_broker_driver_t sse_redis_driver;

#endif

/* A change of a function that is there, without a deploy: made on the disk by the jobs' thread, where changes
 * follow each other, then in memory, and answered when no call starts any more that would not see it. */
#ifndef FAAS_GATEWAY_CHANGE_H
#define FAAS_GATEWAY_CHANGE_H

#include "gateway/gateway_internal.h"

struct change;

struct change_kind {
    int (*run)(struct change *change, struct err *err); /* on the jobs' thread */
    void (*apply)(struct change *change);   /* on the loop, when run was a success; renews calls */
    void (*respond)(struct change *change); /* then, some ms later */
    void (*free)(void *change);             /* also what run has left */
};

/* Embedded at the front of what the kind needs. */
struct change {
    const struct change_kind *kind;
    struct gateway *gateway;
    struct http_conn *conn;
    struct job job;
    struct loop_timer timer;
    int rc;
    struct err err;
};

/* True: another gateway is taking over and will get the request; nothing of it may be touched. */
bool change_must_wait(struct gateway *gateway, struct http_conn *conn);
/* change_must_wait was asked. kind, gateway and conn are set, the rest zero. Owns it from now on. */
void change_start(struct change *change);

#endif

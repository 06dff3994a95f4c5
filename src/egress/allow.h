/* A function's list of what it may connect to: `allow=host:port,host:port…`. Pure.
 *
 *     api.example.com:443     that name            *.example.com:443   every name below it, not itself
 *     *:443                   every name, every public address
 *     203.0.113.9:22          that address         10.1.0.0/16:5432    a network
 *     [2001:db8::1]:443  [fd00::/8]:443            host:*              every port
 *
 * A name is letters, digits, '-', '_' and '.', in any case, and its last label starts with a letter, so that
 * no number is taken for one. */
#ifndef FAAS_EGRESS_ALLOW_H
#define FAAS_EGRESS_ALLOW_H

#include "base/err.h"
#include "egress/address.h"

enum {
    ALLOW_ENTRIES_MAX = 32,
    ALLOW_TEXT_BYTES = 1024, /* of the whole list, terminated */
    ALLOW_NAME_BYTES = 254,  /* of a name, terminated */
};

enum allow_kind { ALLOW_NAME, ALLOW_BELOW, ALLOW_ANY, ALLOW_NET };

struct allow_entry {
    enum allow_kind kind;
    uint16_t port; /* 0 = every one */
    struct address_net net;
    char name[ALLOW_NAME_BYTES]; /* lower case; of ALLOW_BELOW with the dot in front */
};

struct allow {
    struct allow_entry entries[ALLOW_ENTRIES_MAX];
    int count;
};

/* "" is an empty list. ERR_BAD_REQUEST names the entry and what is wrong with it. */
int allow_parse(const char *text, struct allow *ret_allow, struct err *err);
/* Lower case in place, without a dot at the end; false when it is no name. */
bool allow_clean_name(char *name);
/* Whether a connection to this name (cleaned) on this port, 0 = on any, is in the list. */
bool allow_has_name(const struct allow *allow, const char *name, uint16_t port);

#endif

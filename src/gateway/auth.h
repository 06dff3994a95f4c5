/* Who may do what: asked before any route. */
#ifndef FAAS_GATEWAY_AUTH_H
#define FAAS_GATEWAY_AUTH_H

#include "http/http.h"
#include "keys/keyring.h"

struct gateway;

/* What a request wants. */
struct auth_want {
    uint32_t scopes; /* bits of enum key_scope, one of them is enough; AUTH_NOTHING: nobody is asked */
    /* Where it names the one function that it is about: a parameter of its query, "" = its path behind the
     * first path_prefix bytes. NULL: it is about none, or all of them. */
    const char *name_parameter;
    size_t path_prefix;
};
#define AUTH_NOTHING (1u << 31)

/* X(name, label of faas_auth_refused_total) */
#define AUTH_REASONS(X)                                                                                      \
    X(MISSING, "missing")                                                                                    \
    X(UNKNOWN, "unknown")                                                                                    \
    X(SCOPE, "scope")                                                                                        \
    X(FUNCTION, "function")                                                                                  \
    X(RATE, "rate")                                                                                          \
    X(ORIGIN, "origin")
enum auth_reason {
#define AUTH_REASON_ENUM(name, label) AUTH_##name,
    AUTH_REASONS(AUTH_REASON_ENUM)
#undef AUTH_REASON_ENUM
        AUTH_REASON_COUNT
};

struct auth {
    struct keyring *keyring;
    bool refuses_pages; /* nobody else's web page may change anything here (while no key is asked for) */
    uint64_t refused[AUTH_REASON_COUNT];
};

/* 0, or ERR_UNAUTHORIZED, ERR_FORBIDDEN. Costs next to nothing while nobody needs a key. Counts refusals. */
int auth_check(struct gateway *gateway, struct http_conn *conn, const struct http_request *request,
               const struct auth_want *want, struct err *err);
/* The same, against the key's rate as well; answers itself and returns false when the request may not go on.
 */
bool auth_admit(struct gateway *gateway, struct http_conn *conn, const struct http_request *request,
                const struct auth_want *want);
/* A header that holds a key of ours, which is no business of a function. */
bool auth_header_is_secret(const struct http_header *header);

#endif

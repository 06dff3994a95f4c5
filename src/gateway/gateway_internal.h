/* What the gateway's files share; nobody else includes this. */
#ifndef FAAS_GATEWAY_GATEWAY_INTERNAL_H
#define FAAS_GATEWAY_GATEWAY_INTERNAL_H

#include "base/jobs.h"
#include "dispatch/dispatch.h"
#include "gateway/auth.h"
#include "gateway/function_log.h"
#include "gateway/gateway.h"
#include "gateway/histograms.h"
#include "gateway/json.h"
#include "http/http.h"
#include "storage/storage.h"

enum { GATEWAY_CALL_ID_MAX = 64 };

struct deploy;
struct build;
struct takeover;

struct gateway {
    struct loop *loop;           /* borrowed */
    const struct config *config; /* borrowed */
    struct storage *storage;
    struct jobs *jobs;
    struct dispatch *dispatch;
    struct http_server *http;
    struct function_log *log;
    struct auth auth;
    struct loop_timer drain_timer;
    uint64_t drain_until_ns;
    struct histograms histograms;
    char parts_dir[1024]; /* where the builder is */
    uint32_t call_id_seed;
    struct build *builds_head, *builds_tail; /* waiting */
    struct build *builds_running_head;
    uint32_t builds_running, builds_waiting;
    uint32_t writes; /* deploys, rebuilds, changes and removals under way */
    struct takeover *takeover;
    struct buf scratch, head_scratch; /* one answer's body and header lines; empty between answers */
};

/* Lives in http_conn_context while a request is out. */
struct request {
    struct gateway *gateway;
    struct http_conn *conn;
    struct call call;
    struct buf head; /* of the CALL frame, when it does not fit head_small */
    char head_small[104];
    char call_id[GATEWAY_CALL_ID_MAX + 1];
    bool envelope; /* /invoke: JSON around the output */
    bool is_call;
    int code; /* enum err_code of the answer */
};

/* respond.c: answers of the platform. */
void respond_json(struct http_conn *conn, int status, const struct buf *body);
void respond_error(struct gateway *gateway, struct http_conn *conn, int code, const char *error);
void respond_err(struct gateway *gateway, struct http_conn *conn, const struct err *err);
void respond_no_function(struct gateway *gateway, struct http_conn *conn, struct http_slice name);
void respond_error_body(void *context, const struct err *err, struct buf *ret_body);
/* Answers of calls. */
void respond_call(struct call *call, const struct call_answer *answer);
/* A function's bytes as an HTTP answer: entries of an ANSWER's head, or a CGI response. Appends header lines
 * to `head`. */
int respond_head_of_entries(const struct call_answer *answer, int *ret_status, struct buf *head,
                            struct err *err);
/* RFC 3875 section 6. *ret_body is the rest of the output. */
int respond_head_of_cgi(struct call_bytes output, int *ret_status, struct buf *head,
                        struct call_bytes *ret_body, struct err *err);

/* invoke.c */
void invoke_by_query(struct gateway *gateway, struct http_conn *conn, struct http_request *request);
void invoke_by_path(struct gateway *gateway, struct http_conn *conn, struct http_request *request,
                    struct http_slice name, struct http_slice prefix, struct http_slice rest);

/* deploy.c */
void deploy_route(struct gateway *gateway, struct http_conn *conn, struct http_request *request, bool update);
/* A function of that name is there. */
void deploy_delete(struct gateway *gateway, struct http_conn *conn, const char *name);
void deploy_rebuild(void *context, struct storage_version *version); /* dispatch_on_artefact */

/* limits.c */
/* None above the server's caps, which may be lower than when the function was deployed. */
void limits_hold(const struct config *config, struct limits *limits);
/* Those of a function that asks for none: never above the server's caps. */
void limits_set_defaults(const struct config *config, struct limits *ret_limits);
/* Sets those that the query names, the others stay. ERR_BAD_REQUEST names the parameter, and the cap. */
int limits_parse(const struct config *config, struct http_slice query, struct limits *limits,
                 struct err *err);
/* PATCH /function/NAME: limits, without new code. */
void limits_patch(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                  struct storage_version *version);
/* ERR_BAD_REQUEST for the first parameter that is neither a limit nor in `others` (ended by NULL). */
int limits_check_known(struct http_slice query, const char *const *others, struct err *err);
/* takeover.c: one gateway follows another, while both serve. */
/* Before the data directory is opened: when we are to replace a gateway, it has let go of it afterwards. */
int takeover_begin(struct gateway *gateway, struct err *err);
/* The data directory is read: the other gateway may hand over workers and connections. Listens for the one
 * that will replace us. */
int takeover_go_on(struct gateway *gateway, struct err *err);
/* No deploy, rebuild, change or removal may begin: the next gateway has, or will have, the data directory. */
bool takeover_is_under_way(const struct gateway *gateway);
/* gateway->writes has become less. */
void takeover_on_write_end(struct gateway *gateway);
void takeover_free(struct gateway *gateway);

/* describe.c */
void describe_function(struct gateway *gateway, struct http_conn *conn, struct storage_version *version);
void describe_list(struct gateway *gateway, struct http_conn *conn);
void describe_workers(struct gateway *gateway, struct http_conn *conn);
/* Appends "limits":{…} */
void describe_limits(struct buf *body, const struct limits *limits);

/* variables.c */
/* /function/NAME/env… and …/secrets…: `rest` is what stands behind the name, without the slash. */
void variables_route(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                     struct http_slice name, struct http_slice rest);
/* Appends "env":["NAME",…],"secrets":["NAME",…] */
void variables_append_names(struct buf *body, const struct vars *vars);

/* metrics.c */
void metrics_route(struct gateway *gateway, struct http_conn *conn);

/* routes.c */
int routes_on_head(void *context, struct http_conn *conn, const struct http_request *request,
                   struct err *err);
/* HEAD counts as GET. */
bool routes_method_is(const struct http_request *request, const char *method);
void routes_wrong_method(struct http_conn *conn, const char *allow);
void routes_no_route(struct gateway *gateway, struct http_conn *conn, struct http_slice path);
void routes_on_request(void *context, struct http_conn *conn, struct http_request *request);
void routes_on_abandon(void *context, struct http_conn *conn);

#endif

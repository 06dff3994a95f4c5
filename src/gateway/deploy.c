/* Deploy: reserve the name, build in a stage, publish, list. The loop goes on serving meanwhile: the build is
 * a process of its own, the disk is on the jobs' thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "egress/allow.h"
#include "egress/probe.h"
#include "gateway/build.h"
#include "gateway/gateway_internal.h"
#include "sandbox/sandbox.h"

struct deploy {
    struct gateway *gateway;
    struct http_conn *conn; /* NULL for a rebuild */
    struct storage_meta meta;
    struct storage_version *version; /* rebuild: referenced */
    char stage[1200];
    struct build build;
    struct job job;
    struct dispatch_warmth warmth;
    struct buf source; /* rebuild: code.wasm */
    struct err err;
    char *error_text; /* owned: the compiler's messages, longer than err holds */
    int rc;
};

/* ---- parameters ---- */

static int deploy_check_known(struct http_slice query, struct err *err) {
    static const char *const known[] = {"name", "lang", "http", "isolation", "allow", NULL};
    return limits_check_known(query, known, err);
}

static int deploy_parse_lang(const char *lang, struct storage_meta *meta, struct err *err) {
    const struct storage_lang *found = storage_lang_find(lang);
    if (found) {
        snprintf(meta->lang, sizeof meta->lang, "%s", found->name);
        return 0;
    }
    char known[128] = "";
    for (const struct storage_lang *row = storage_lang_all(); row->name; row++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "", row->name);
    return err_set(err, ERR_BAD_REQUEST, "lang '%.32s' is unknown; known: %s", lang, known);
}

static int deploy_need(struct http_slice query, const char *name, char *ret_value, size_t size,
                       struct err *err) {
    int rc = http_query_get(query, name, ret_value, size, err);
    return rc > 0 ? 0 : rc < 0 ? rc : err_set(err, ERR_BAD_REQUEST, "the parameter '%s' is missing", name);
}

/* A WASM function has a fresh instance for every call and no other way. */
static int deploy_parse_isolation(struct http_slice query, struct storage_meta *meta, struct err *err) {
    char text[16];
    int rc = http_query_get(query, "isolation", text, sizeof text, err);
    if (rc <= 0)
        return rc;
    bool call = strcmp(text, "call") == 0;
    if (!call && strcmp(text, "process") != 0)
        return err_set(err, ERR_BAD_REQUEST, "isolation=%s is unknown; known: process, call", text);
    bool wasm = storage_lang_find(meta->lang)->runtime == RUNTIME_WASM;
    if (wasm && !call)
        return err_set(err, ERR_BAD_REQUEST,
                       "isolation=process is for js and python: a %s function has a fresh instance for every "
                       "call",
                       meta->lang);
    meta->isolated = call && !wasm;
    return 0;
}

/* What the function may connect to. */
static int deploy_parse_allow(struct http_slice query, struct storage_meta *meta, struct err *err) {
    struct allow allow;
    int rc = http_query_get(query, "allow", meta->allow, sizeof meta->allow, err);
    if (rc < 0 || !meta->allow[0])
        return rc < 0 ? rc : 0;
    if (storage_lang_find(meta->lang)->runtime == RUNTIME_WASM)
        return err_set(err, ERR_BAD_REQUEST,
                       "allow is for js and python: a %s function has no network to be allowed", meta->lang);
    rc = allow_parse(meta->allow, &allow, err);
    if (rc == 0 && !sandbox_has_root())
        rc = err_set(err, ERR_NOT_INSTALLED,
                     "allow: this machine gives no network namespaces, so no function may connect");
    return rc == 0 ? probe_run(err) : rc;
}

static int deploy_parse(struct gateway *gateway, const struct http_request *http, bool update,
                        struct storage_meta *ret_meta, struct err *err) {
    char name[256], lang[64], mode[16];
    int rc = deploy_check_known(http->query, err);
    if (rc == 0)
        rc = deploy_need(http->query, "name", name, sizeof name, err);
    if (rc == 0)
        rc = storage_name_check(name, err);
    if (rc == 0)
        rc = deploy_need(http->query, "lang", lang, sizeof lang, err);
    if (rc == 0)
        rc = deploy_parse_lang(lang, ret_meta, err);
    if (rc == 0) {
        limits_set_defaults(gateway->config, &ret_meta->limits);
        rc = limits_parse(gateway->config, http->query, &ret_meta->limits, err);
    }
    if (rc == 0)
        rc = deploy_parse_isolation(http->query, ret_meta, err);
    if (rc == 0)
        rc = deploy_parse_allow(http->query, ret_meta, err);
    if (rc != 0)
        return rc;
    rc = http_query_get(http->query, "http", mode, sizeof mode, err);
    if (rc > 0 && strcmp(mode, "cgi") != 0 && strcmp(mode, "plain") != 0)
        return err_set(err, ERR_BAD_REQUEST, "http=%s is unknown; known: plain, cgi", mode);
    if (rc < 0)
        return rc;
    ret_meta->cgi = rc > 0 && strcmp(mode, "cgi") == 0;
    ret_meta->size = http->body.len;
    if (http->body.len == 0)
        return err_set(err, ERR_COMPILE, "the source is empty: send it as the request's body");
    return storage_reserve(gateway->storage, name, update, ret_meta, err);
}

/* ---- the end of a deploy ---- */

/* NULL: no memory, and conn has been answered. */
static struct deploy *deploy_new(struct gateway *gateway, struct http_conn *conn) {
    struct deploy *deploy = calloc(1, sizeof *deploy);
    if (!deploy && conn)
        respond_error(gateway, conn, ERR_UNAVAILABLE, "no memory for a deploy");
    if (!deploy)
        return NULL;
    deploy->gateway = gateway;
    deploy->conn = conn;
    gateway->writes++;
    return deploy;
}

static void deploy_free(struct deploy *deploy) {
    struct gateway *gateway = deploy->gateway;
    buf_fini(&deploy->source);
    free(deploy->error_text);
    free(deploy);
    gateway->writes--;
    takeover_on_write_end(gateway);
}

/* The next gateway builds it: its request goes there. */
static void deploy_hold(struct deploy *deploy) {
    storage_unstage(deploy->stage);
    storage_unreserve(deploy->gateway->storage, deploy->meta.name);
    http_hold(deploy->conn);
    deploy_free(deploy);
}

static void deploy_respond_created(struct deploy *deploy) {
    const struct storage_meta *meta = &deploy->meta;
    struct buf body = {0};
    buf_append_format(
        &body, "{\"ok\":true,\"id\":\"%s\",\"name\":\"%s\",\"lang\":\"%s\",\"wasm\":%s,\"size\":%llu,",
        meta->id, meta->name, meta->lang, meta->wasm ? "true" : "false", (unsigned long long)meta->size);
    buf_append_format(&body, "\"version\":%u,\"entry\":\"%s\"}", meta->version, meta->entry);
    respond_json(deploy->conn, 201, &body);
    buf_fini(&body);
}

static void deploy_fail(struct deploy *deploy, int code, const char *error) {
    storage_unreserve(deploy->gateway->storage, deploy->meta.name);
    respond_error(deploy->gateway, deploy->conn, code, error);
    deploy_free(deploy);
}

static void deploy_run_unstage(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    storage_unstage(deploy->stage);
}

static void deploy_on_unstaged(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    deploy_fail(deploy, deploy->err.code, deploy->error_text ? deploy->error_text : deploy->err.msg);
}

static void deploy_run_publish(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    deploy->rc = storage_publish(deploy->gateway->storage, deploy->stage, &deploy->meta, &deploy->err);
}

static void deploy_on_warm(struct dispatch_warmth *warmth) {
    struct deploy *deploy = (struct deploy *)((char *)warmth - offsetof(struct deploy, warmth));
    deploy_respond_created(deploy);
    deploy_free(deploy);
}

static void deploy_on_published(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    struct gateway *gateway = deploy->gateway;
    if (deploy->rc != 0) {
        deploy_fail(deploy, deploy->err.code, deploy->err.msg);
        return;
    }
    struct storage_version *before =
        storage_find(gateway->storage, deploy->meta.name, strlen(deploy->meta.name));
    if (before)
        storage_ref(before);
    struct storage_version *after = storage_index_add(gateway->storage, &deploy->meta, &deploy->err);
    if (before) {
        dispatch_retire(before);
        storage_unref(gateway->storage, before);
    }
    if (after) {
        deploy->warmth.on_warm = deploy_on_warm;
        dispatch_warm(gateway->dispatch, after, &deploy->warmth);
    } else {
        respond_err(gateway, deploy->conn, &deploy->err);
        deploy_free(deploy);
    }
}

static void deploy_on_built(struct build *build, const struct err *err) {
    struct deploy *deploy = (struct deploy *)((char *)build - offsetof(struct deploy, build));
    if (err->code == ERR_DRAINING) {
        deploy_hold(deploy);
        return;
    }
    if (err->code != ERR_OK) {
        deploy->err = *err;
        deploy->error_text = build->error_text;
        build->error_text = NULL;
        deploy->job = (struct job){.run = deploy_run_unstage, .done = deploy_on_unstaged};
    } else {
        deploy->job = (struct job){.run = deploy_run_publish, .done = deploy_on_published};
    }
    jobs_add(deploy->gateway->jobs, &deploy->job);
}

/* ---- routes ---- */

void deploy_route(struct gateway *gateway, struct http_conn *conn, struct http_request *http, bool update) {
    *(struct request *)http_conn_context(conn) = (struct request){.gateway = gateway, .conn = conn};
    struct err err;
    if (takeover_is_under_way(gateway)) {
        http_hold(conn);
        return;
    }
    struct deploy *deploy = deploy_new(gateway, conn);
    if (!deploy)
        return;
    int rc = deploy_parse(gateway, http, update, &deploy->meta, &err);
    if (rc != 0) {
        respond_err(gateway, conn, &err);
        deploy_free(deploy);
        return;
    }
    if (storage_stage(gateway->storage, deploy->stage, sizeof deploy->stage, &err) != 0) {
        deploy_fail(deploy, err.code, err.msg);
        return;
    }
    dispatch_expect(gateway->dispatch, storage_lang_find(deploy->meta.lang)->runtime);
    deploy->build = (struct build){
        .args = {"--lang", deploy->meta.lang, "--name", deploy->meta.name, "--stage", deploy->stage},
        .source = {(const uint8_t *)http->body.data, http->body.len},
        .meta = &deploy->meta,
        .on_done = deploy_on_built,
    };
    if (build_start(gateway, &deploy->build, &err) != 0) {
        storage_unstage(deploy->stage);
        deploy_fail(deploy, err.code, err.msg);
    }
}

static void deploy_run_erase(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    deploy->rc = storage_erase(deploy->gateway->storage, deploy->meta.name, &deploy->err);
}

static void deploy_on_erased(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    struct gateway *gateway = deploy->gateway;
    struct storage *storage = gateway->storage;
    const char *name = deploy->meta.name;
    if (deploy->rc == 0) {
        const struct storage_function *function = storage_find_function(storage, name);
        for (struct storage_version *at = function->versions; at; at = at->older) {
            dispatch_retire(at);
            histograms_forget(&gateway->histograms, at);
        }
        storage_index_remove(storage, name);
        http_respond(deploy->conn, 204, (struct http_slice){"", 0}, (struct http_slice){"", 0});
    } else {
        respond_err(deploy->gateway, deploy->conn, &deploy->err);
    }
    storage_unreserve(storage, name);
    deploy_free(deploy);
}

void deploy_delete(struct gateway *gateway, struct http_conn *conn, const char *name) {
    *(struct request *)http_conn_context(conn) = (struct request){.gateway = gateway, .conn = conn};
    struct err err;
    if (takeover_is_under_way(gateway)) {
        http_hold(conn);
        return;
    }
    struct deploy *deploy = deploy_new(gateway, conn);
    if (!deploy)
        return;
    if (storage_reserve(gateway->storage, name, true, &deploy->meta, &err) != 0) {
        respond_err(gateway, conn, &err);
        deploy_free(deploy);
        return;
    }
    deploy->job = (struct job){.run = deploy_run_erase, .done = deploy_on_erased};
    jobs_add(gateway->jobs, &deploy->job);
}

/* ---- native code that a worker refused ---- */

static void deploy_end_rebuild(struct deploy *deploy, bool rebuilt) {
    struct gateway *gateway = deploy->gateway;
    struct storage_version *version = deploy->version;
    if (rebuilt) {
        struct limits limits = version->meta.limits; /* which may have changed meanwhile */
        version->meta = deploy->meta;
        version->meta.limits = limits;
    }
    log_event("native code of '%s' %s", version->meta.id,
              rebuilt              ? "was made again"
              : deploy->err.msg[0] ? deploy->err.msg
                                   : "could not be made again");
    deploy_free(deploy);
    dispatch_rebuilt(gateway->dispatch, version, rebuilt);
    storage_unref(gateway->storage, version);
}

static void deploy_run_replace(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    deploy->rc = storage_replace_native(deploy->gateway->storage, deploy->stage, &deploy->meta, &deploy->err);
}

static void deploy_on_replaced(struct job *job) {
    struct deploy *deploy = (struct deploy *)((char *)job - offsetof(struct deploy, job));
    deploy_end_rebuild(deploy, deploy->rc == 0);
}

static void deploy_on_rebuilt(struct build *build, const struct err *err) {
    struct deploy *deploy = (struct deploy *)((char *)build - offsetof(struct deploy, build));
    deploy->err = *err;
    deploy->error_text = build->error_text;
    if (err->code == ERR_DRAINING) { /* the next gateway does it, for the calls that wait for it */
        struct gateway *gateway = deploy->gateway;
        struct storage_version *version = deploy->version;
        storage_unstage(deploy->stage);
        deploy_free(deploy);
        storage_unref(gateway->storage, version);
        return;
    }
    if (err->code != ERR_OK) {
        storage_unstage(deploy->stage);
        deploy_end_rebuild(deploy, false);
        return;
    }
    deploy->job = (struct job){.run = deploy_run_replace, .done = deploy_on_replaced};
    jobs_add(deploy->gateway->jobs, &deploy->job);
}

void deploy_rebuild(void *context, struct storage_version *version) {
    struct gateway *gateway = context;
    if (takeover_is_under_way(gateway))
        return;
    struct deploy *deploy = deploy_new(gateway, NULL);
    if (!deploy) {
        dispatch_rebuilt(gateway->dispatch, version, false);
        return;
    }
    deploy->meta = version->meta;
    deploy->version = version;
    storage_ref(version);
    log_event("native code of '%s' is damaged or from another engine: it is made again", version->meta.id);
    int rc = storage_read(gateway->storage, version->meta.id, "code.wasm", 256u << 20, &deploy->source,
                          &deploy->err);
    if (rc == 0)
        rc = storage_stage(gateway->storage, deploy->stage, sizeof deploy->stage, &deploy->err);
    if (rc == 0) {
        deploy->build = (struct build){.args = {"--rebuild", "--stage", deploy->stage},
                                       .source = {deploy->source.data, deploy->source.len},
                                       .meta = &deploy->meta,
                                       .on_done = deploy_on_rebuilt};
        rc = build_start(gateway, &deploy->build, &deploy->err);
    }
    if (rc != 0)
        deploy_end_rebuild(deploy, false);
}

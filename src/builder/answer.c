#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "builder/builder.h"
#include "builder/lang.h"
#include "builder/utf8.h"
#include "storage/storage.h"

static void answer_put(json_t *root, struct buf *ret_json) {
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    buf_append_str(ret_json,
                   text ? text : "{\"ok\":false,\"code\":\"internal\",\"error\":\"out of memory\"}");
    buf_append_str(ret_json, "\n");
    free(text);
    json_decref(root);
}

static const char *answer_code(int code) {
    switch (code) {
    case ERR_COMPILE:
    case ERR_BUILD_TIMEOUT:
    case ERR_BUILD_OOM:
    case ERR_BUILD_OUTPUT:
    case ERR_NOT_INSTALLED:
    case ERR_STORAGE_FULL:
    case ERR_BAD_REQUEST:
        return err_cause(code);
    default:
        return err_cause(ERR_INTERNAL);
    }
}

/* The compiler's own words come first; the reason is added when it is not theirs to know. */
static void answer_error_text(const struct builder *builder, const struct err *err, struct buf *ret_text) {
    size_t len = builder->messages.len;
    while (len && builder->messages.data[len - 1] == '\n')
        len--;
    if (len)
        utf8_append(ret_text, builder->messages.data, len);
    bool said = len && err->code == ERR_COMPILE;
    if (len && !said)
        buf_append_str(ret_text, "\n");
    if (!said)
        utf8_append(ret_text, err->msg, strlen(err->msg));
}

void builder_answer(const struct builder *builder, int failed, const struct err *err, struct buf *ret_json) {
    if (!failed) {
        json_t *root = json_pack("{s:b,s:s,s:b,s:b}", "ok", 1, "entry", builder->entry, "wasm",
                                 (int)builder->wasm, "module", (int)builder->module);
        if (builder->wasm && root) {
            json_object_set_new(root, "engine", json_string(builder->engine));
            json_object_set_new(root, "native_hash", json_string(builder->native_hash));
        }
        answer_put(root, ret_json);
        return;
    }
    struct buf text = {0};
    answer_error_text(builder, err, &text);
    json_t *root = json_pack("{s:b,s:s}", "ok", 0, "code", answer_code(err->code));
    if (root)
        json_object_set_new(root, "error", json_stringn((const char *)text.data, text.len));
    buf_fini(&text);
    answer_put(root, ret_json);
}

void builder_probe(struct buf *ret_json) {
    json_t *root = json_object(), *missing = json_object();
    for (const struct storage_lang *lang = storage_lang_all(); lang->name; lang++) {
        struct err err;
        bool there = lang_check(lang->name, &err) == 0;
        json_object_set_new(root, lang->name, json_boolean(there));
        if (!there)
            json_object_set_new(missing, lang->name, json_string(err.msg));
    }
    json_object_set_new(root, "missing", missing);
    answer_put(root, ret_json);
}

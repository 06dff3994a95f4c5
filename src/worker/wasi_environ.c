/* The guest's environment: the function version's variables, the call's, and for an HTTP call those of CGI
 * (RFC 3875). Made when the guest asks for it, from the two heads as they came. */
#include "worker/wasi_internal.h"

#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "wire/frame.h"

/* The gateway bounds a request's headers; this bounds the work of joining equal ones. */
enum { WASI_HEADERS_MAX = 256 };

/* What the gateway sends of a request as it is. A function's own variable of such a name would be mistaken
 * for it. */
static const char *const wasi_cgi_names[] = {
    "REQUEST_METHOD", "PATH_INFO",   "QUERY_STRING", "SCRIPT_NAME", "SERVER_PROTOCOL",
    "SERVER_NAME",    "SERVER_PORT", "REMOTE_ADDR",  "REQUEST_URI",
};
static const char *const wasi_made_names[] = {"GATEWAY_INTERFACE", "CONTENT_TYPE", "CONTENT_LENGTH"};

struct wasi_text {
    const char *data;
    size_t len;
};

struct wasi_headers {
    struct {
        struct wasi_text name, value;
    } all[WASI_HEADERS_MAX];
    size_t count;
};

static bool wasi_text_is(struct wasi_text text, const char *word) {
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static bool wasi_text_starts(struct wasi_text text, const char *word) {
    size_t len = strlen(word);
    return text.len >= len && memcmp(text.data, word, len) == 0;
}

static bool wasi_text_in(struct wasi_text text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (wasi_text_is(text, words[i]))
            return true;
    return false;
}
#define WASI_IN(text, words) wasi_text_in(text, words, sizeof words / sizeof words[0])

static bool wasi_head_walk(const uint8_t *head, size_t head_len, size_t *at, struct wasi_text *ret_name,
                           struct wasi_text *ret_value) {
    return frame_head_next(head, head_len, at, &ret_name->data, &ret_name->len, &ret_value->data,
                           &ret_value->len);
}

static void wasi_environ_add(struct wasi_call *call, struct wasi_text name, struct wasi_text value) {
    struct buf *text = &call->environ_text;
    buf_append(text, name.data, name.len);
    buf_append(text, "=", 1);
    buf_append(text, value.data, value.len);
    buf_append(text, "", 1);
    call->environ_count++;
}

static void wasi_environ_add_number(struct wasi_call *call, const char *name, uint64_t value) {
    buf_append_str(&call->environ_text, name);
    buf_append(&call->environ_text, "=", 1);
    buf_append_u64(&call->environ_text, value);
    buf_append(&call->environ_text, "", 1);
    call->environ_count++;
}

/* --- request headers --- */

/* Only names that cannot be taken for another header once '-' became '_'. A client's `proxy` would become
 * HTTP_PROXY, which many programs obey (httpoxy). */
static bool wasi_header_passes(struct wasi_text name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return name.len > 0 && !wasi_text_is(name, "proxy");
}

static void wasi_environ_add_header(struct wasi_call *call, const struct wasi_headers *headers,
                                    size_t first) {
    struct buf *text = &call->environ_text;
    struct wasi_text name = headers->all[first].name;
    bool type = wasi_text_is(name, "content-type");
    if (!type)
        buf_append_str(text, "HTTP_");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        c = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        buf_append(text, &c, 1);
    }
    buf_append(text, "=", 1);
    buf_append(text, headers->all[first].value.data, headers->all[first].value.len);
    const char *between = wasi_text_is(name, "cookie") ? "; " : ", ";
    for (size_t i = first + 1; i < headers->count && !type; i++) {
        struct wasi_text other = headers->all[i].name;
        if (other.len == name.len && memcmp(other.data, name.data, name.len) == 0) {
            buf_append_str(text, between);
            buf_append(text, headers->all[i].value.data, headers->all[i].value.len);
        }
    }
    buf_append(text, "", 1);
    call->environ_count++;
}

static void wasi_environ_add_headers(struct wasi_call *call, const struct wasi_headers *headers) {
    bool has_length = false;
    for (size_t i = 0; i < headers->count; i++) {
        struct wasi_text name = headers->all[i].name;
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = headers->all[j].name.len == name.len &&
                   memcmp(headers->all[j].name.data, name.data, name.len) == 0;
        if (wasi_text_is(name, "content-length"))
            has_length = true;
        else if (!seen)
            wasi_environ_add_header(call, headers, i);
    }
    /* The length of what is on stdin, also for a body that came in chunks. */
    if (has_length || call->input.payload_len > 0)
        wasi_environ_add_number(call, "CONTENT_LENGTH", call->input.payload_len);
}

/* --- all of it --- */

static void wasi_environ_add_load(struct wasi_call *call, bool http) {
    struct wasi_text name, value;
    const struct wasi_input *input = &call->input;
    for (size_t at = 0; wasi_head_walk(input->load_head, input->load_head_len, &at, &name, &value);) {
        if (wasi_text_is(name, "FAAS_FUNCTION") || wasi_text_is(name, "FAAS_VERSION")) {
            wasi_environ_add(call, name, value);
            continue;
        }
        if (!wasi_text_starts(name, "env."))
            continue;
        name = (struct wasi_text){name.data + 4, name.len - 4};
        bool taken = wasi_text_starts(name, "FAAS_") ||
                     (http && (wasi_text_starts(name, "HTTP_") || WASI_IN(name, wasi_cgi_names) ||
                               WASI_IN(name, wasi_made_names)));
        if (name.len > 0 && !taken)
            wasi_environ_add(call, name, value);
    }
}

/* True for an HTTP call. */
static bool wasi_environ_add_call(struct wasi_call *call) {
    struct wasi_headers headers;
    headers.count = 0;
    bool http = false;
    struct wasi_text name, value;
    const struct wasi_input *input = &call->input;
    for (size_t at = 0; wasi_head_walk(input->call_head, input->call_head_len, &at, &name, &value);) {
        http = http || wasi_text_is(name, "REQUEST_METHOD");
        if (wasi_text_is(name, "FAAS_CALL_ID") || WASI_IN(name, wasi_cgi_names)) {
            wasi_environ_add(call, name, value);
        } else if (wasi_text_starts(name, "h:") && headers.count < WASI_HEADERS_MAX) {
            name = (struct wasi_text){name.data + 2, name.len - 2};
            if (wasi_header_passes(name)) {
                headers.all[headers.count].name = name;
                headers.all[headers.count++].value = value;
            }
        }
    }
    uint64_t now = clock_now_ns(), left = 0;
    if (input->deadline_ns > now)
        left = input->deadline_ns - now;
    wasi_environ_add_number(call, "FAAS_DEADLINE_MS", (clock_real_ns() + left) / CLOCK_NS_PER_MS);
    if (http) {
        wasi_environ_add(call, (struct wasi_text){"GATEWAY_INTERFACE", 17}, (struct wasi_text){"CGI/1.1", 7});
        wasi_environ_add_headers(call, &headers);
    }
    return http;
}

static bool wasi_environ_make(struct wasi_call *call) {
    if (call->environ_made)
        return true;
    buf_clear(&call->environ_text);
    call->environ_count = 0;
    bool http = wasi_environ_add_call(call);
    wasi_environ_add_load(call, http);
    call->environ_made = !call->environ_text.failed && call->environ_text.len <= UINT32_MAX;
    if (!call->environ_made)
        wasi_stop(call, WASI_NO_MEMORY);
    return call->environ_made;
}

uint32_t wasi_environ_sizes_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_count = (uint32_t)args[0], ret_bytes = (uint32_t)args[1];
    if (!wasi_inside(memory, ret_count, 4) || !wasi_inside(memory, ret_bytes, 4))
        return WASI_EFAULT;
    if (!wasi_environ_make(call))
        return WASI_EIO;
    wasi_store_u32(memory, ret_count, call->environ_count);
    wasi_store_u32(memory, ret_bytes, (uint32_t)call->environ_text.len);
    return WASI_SUCCESS;
}

uint32_t wasi_environ_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_pointers = (uint32_t)args[0], ret_text = (uint32_t)args[1];
    if (!wasi_environ_make(call))
        return WASI_EIO;
    const struct buf *text = &call->environ_text;
    if (!wasi_inside(memory, ret_pointers, 4 * (uint64_t)call->environ_count) ||
        !wasi_inside(memory, ret_text, text->len))
        return WASI_EFAULT;
    size_t at = 0;
    for (uint32_t i = 0; i < call->environ_count; i++) {
        wasi_store_u32(memory, ret_pointers + 4 * (uint64_t)i, ret_text + (uint32_t)at);
        at += strlen((const char *)text->data + at) + 1;
    }
    if (text->len > 0)
        memcpy(memory.data + ret_text, text->data, text->len);
    return WASI_SUCCESS;
}

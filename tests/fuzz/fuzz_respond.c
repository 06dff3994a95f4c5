/* What a function says about its answer, as a CGI response and as entries of a frame: whatever it is, no
 * header but whole and clean ones comes out, none that is the platform's, and the body lies inside of the
 * output. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "gateway/gateway_internal.h"

static bool fuzz_is_ours(const char *name, size_t len) {
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection", "x-call-id",
                                       "date"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strlen(ours[i]) == len && strncasecmp(ours[i], name, len) == 0)
            return true;
    return false;
}

/* Lines of "token: value CRLF", nothing else. */
static void fuzz_check_head(const struct buf *head) {
    const char *at = (const char *)head->data, *end = head->len ? at + head->len : at;
    CHECK(!head->failed);
    while (at < end) {
        const char *stop = memmem(at, (size_t)(end - at), "\r\n", 2);
        CHECK(stop && stop > at);
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        CHECK(colon && colon > at && colon[1] == ' ');
        for (const char *name = at; name < colon; name++)
            CHECK(isalnum((unsigned char)*name) || (*name && strchr("!#$%&'*+-.^_`|~", *name)));
        for (const char *value = colon; value < stop; value++)
            CHECK(((unsigned char)*value >= ' ' || *value == '\t') && *value != 0x7f);
        CHECK(!fuzz_is_ours(at, (size_t)(colon - at)));
        at = stop + 2;
    }
}

static void fuzz_check_result(int rc, int status, const struct buf *head, const struct err *err) {
    if (rc == 0) {
        CHECK(status >= 200 && status <= 599);
        fuzz_check_head(head);
    } else {
        CHECK(rc == -ERR_BAD_ANSWER && err->code == ERR_BAD_ANSWER && err->msg[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf head = {0};
    struct err err = {0};
    struct call_bytes output = {data, size}, body = {0};
    int status = 0;
    int rc = respond_head_of_cgi(output, &status, &head, &body, &err);
    fuzz_check_result(rc, status, &head, &err);
    CHECK(rc != 0 || (body.data >= data && body.data + body.len == data + size));
    buf_clear(&head);
    struct call_answer answer = {.code = ERR_OK, .head = output, .output = output};
    rc = respond_head_of_entries(&answer, &status, &head, &err);
    fuzz_check_result(rc, status, &head, &err);
    buf_fini(&head);
    return 0;
}

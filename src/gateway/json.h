/* Writing JSON (RFC 8259) from bytes of any kind, on the path of a call: no tree, straight into a buffer. */
#ifndef FAAS_GATEWAY_JSON_H
#define FAAS_GATEWAY_JSON_H

#include "base/buf.h"
#include "base/err.h"

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool json_is_utf8(const void *data, size_t len);
/* "text", quoted and escaped. The bytes are valid UTF-8 or come out with each invalid byte as U+FFFD. */
void json_append_string(struct buf *out, const void *data, size_t len);
void json_append_text(struct buf *out, const char *text);
/* "key":"…"; bytes that are not UTF-8 go out as base64 (RFC 4648), followed by ,"encoding":"base64". */
void json_append_bytes(struct buf *out, const char *key, const void *data, size_t len);
/* {"ok":false,"error":…,"cause":…} */
void json_append_error(struct buf *out, int code, const char *error);

#endif

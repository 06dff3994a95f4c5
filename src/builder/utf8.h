/* Bytes of unknown origin to UTF-8. Pure. */
#ifndef FAAS_BUILDER_UTF8_H
#define FAAS_BUILDER_UTF8_H

#include "base/buf.h"

/* Appends the text with every byte that is no part of a valid sequence (RFC 3629) replaced by U+FFFD. */
void utf8_append(struct buf *ret_text, const void *data, size_t len);

#endif

/* Names and ids as text. */
#ifndef FAAS_STORAGE_NAME_H
#define FAAS_STORAGE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers in ids: nine to eighteen digits, so that an id always looks like one and the number fits. */
#define NAME_NUMBER_MIN 100000000ull
#define NAME_NUMBER_MAX 999999999999999999ull

/* Splits "<name>_<number>" of `len` bytes. False (outputs untouched) when the text is no id: a bad name, or a
 * number outside the range above or with a leading zero. */
bool name_id_split(const char *text, size_t len, size_t *ret_name_len, uint64_t *ret_number);

#endif

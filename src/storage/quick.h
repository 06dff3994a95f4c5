/* Reads metadata.json in the one form that storage_meta_encode writes. Opening ten thousand functions is
 * mostly this, and a general JSON parser takes five times as long. */
#ifndef FAAS_STORAGE_QUICK_H
#define FAAS_STORAGE_QUICK_H

#include "storage/storage.h"

/* False for any other text, be it right or wrong: then the JSON parser decides. What was read is not checked
 * beyond fitting its field. */
bool quick_decode(const char *json, size_t len, struct storage_meta *ret_meta);

#endif

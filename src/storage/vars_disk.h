/* Variables on the disk: vars/<function>.json in the data directory, replaced as a whole. */
#ifndef FAAS_STORAGE_VARS_DISK_H
#define FAAS_STORAGE_VARS_DISK_H

#include "storage/disk.h"
#include "storage/vars.h"

/* *ret_vars NULL: the function has none. ERR_BAD_REQUEST: the file makes no sense. */
int vars_disk_read(const struct disk *disk, const char *function, struct vars **ret_vars, struct err *err);
/* vars NULL or empty: the file goes. */
int vars_disk_write(const struct disk *disk, const char *function, const struct vars *vars, struct err *err);

/* Every function that has a file; leftovers of a write are removed. */
typedef int vars_disk_on_file(void *context, const char *function, struct err *err);
int vars_disk_each(const struct disk *disk, vars_disk_on_file *on_file, void *context, struct err *err);

#endif

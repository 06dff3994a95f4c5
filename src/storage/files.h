/* Files below a directory descriptor. Nothing here follows a symbolic link: whatever stands in the data
 * directory was perhaps put there by someone else. All of it is safe on any thread. */
#ifndef FAAS_STORAGE_FILES_H
#define FAAS_STORAGE_FILES_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { FILES_RANDOM_BYTES = 17 }; /* 16 hex digits and the end */

/* A name nobody guesses, for what is not there yet. */
void files_random_name(char ret_name[FILES_RANDOM_BYTES]);

/* 0700. An entry that is there already is no error when it is a directory. */
int files_make_dir(int at_fd, const char *name, int *ret_fd, struct err *err);
/* ERR_NOT_FOUND when there is none; a link or a file in its place is ERR_IO. */
int files_open_dir(int at_fd, const char *name, int *ret_fd, struct err *err);
/* A regular file, for reading; anything else in its place is ERR_IO. */
int files_open(int at_fd, const char *name, int *ret_fd, size_t *ret_size, struct err *err);

/* The whole file. ERR_TOO_LARGE over max bytes. */
int files_read(int at_fd, const char *name, size_t max, struct buf *ret_bytes, struct err *err);
/* A new file (0600) in place of what has the name, on the disk when this returns. */
int files_write(int at_fd, const char *name, const void *data, size_t len, struct err *err);
/* The same of a file that may be there and is read meanwhile: it has the old contents or the new ones,
 * whatever happens. `next` is a name in the same directory for the time until they are whole. */
int files_replace(int at_fd, const char *name, const char *next, const void *data, size_t len,
                  struct err *err);
int files_sync(int fd, const char *what, struct err *err);

/* Every entry but "." and "..": a negative result ends the walk and is returned. The callback may remove
 * entries. */
typedef int files_on_entry(void *context, int dir_fd, const struct dirent *entry, struct err *err);
int files_each(int dir_fd, files_on_entry *on_entry, void *context, struct err *err);
/* Costs a system call only where the file system does not say the type with the entry. */
bool files_entry_is_dir(int dir_fd, const struct dirent *entry);

/* Removes a file or a directory with all that is in it, however deep; nothing there is success. */
int files_remove(int at_fd, const char *name, struct err *err);

#endif

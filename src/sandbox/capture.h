/* Runs a trusted program of the machine and keeps what it printed: for questions such as --version. */
#ifndef FAAS_SANDBOX_CAPTURE_H
#define FAAS_SANDBOX_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

/* Standard output of argv[0] (an absolute path), terminated. The environment is PATH, HOME, LC_ALL=C, and
 * `variable` ("NAME=value") when it is not NULL. False when it could not be started, exited with another code
 * than 0, took longer than 10 s, or printed more than size. */
bool capture_output(char *const *argv, const char *variable, char *ret_text, size_t size);

#endif

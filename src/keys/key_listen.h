/* The rule of listening: whoever can reach an instance without keys can run code on it. */
#ifndef FAAS_KEYS_KEY_LISTEN_H
#define FAAS_KEYS_KEY_LISTEN_H

#include "base/config.h"

/* ERR_BAD_REQUEST: others than this machine reach the socket, there is no key, and the settings do not allow
 * that; the message says what to do. Errors of reading the keys, too. */
int key_listen_check(const struct config *config, int listen_fd, struct err *err);

#endif

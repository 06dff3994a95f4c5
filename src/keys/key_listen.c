#include "keys/key_listen.h"

#include "base/listen.h"
#include "keys/key_store.h"

int key_listen_check(const struct config *config, int listen_fd, struct err *err) {
    struct key_set set;
    bool exists;
    if (config->allow_open || listen_is_loopback(listen_fd))
        return 0;
    int rc = key_store_load(config->data_dir, &set, &exists, err);
    if (rc < 0)
        return rc;
    size_t count = set.count;
    key_set_fini(&set);
    if (count > 0)
        return 0;
    return err_set(
        err, ERR_BAD_REQUEST,
        "listen %.60s: without an API key anybody could run code here. Make one: minifaas key create "
        "--scope admin; or allow it: --allow-open",
        config->listen);
}

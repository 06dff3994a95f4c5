/* Ownership helpers: a local carries its release from its declaration on and is handed over with a steal.
 *
 *     __attribute__((cleanup(mem_close_fd))) int fd = open(…);
 *     …
 *     ret->fd = mem_steal_fd(&fd);
 */
#ifndef FAAS_BASE_MEM_H
#define FAAS_BASE_MEM_H

#include <stdlib.h>
#include <unistd.h>

#define MEM_CLOSE_FD __attribute__((cleanup(mem_close_fd)))
#define MEM_FREE __attribute__((cleanup(mem_free_ptr)))

static inline void mem_close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline int mem_steal_fd(int *fd) {
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

/* For `MEM_FREE char *p`: called with the address of the pointer. */
static inline void mem_free_ptr(void *address) {
    void **ptr = address;
    free(*ptr);
    *ptr = NULL;
}

/* Allocation whose failure nobody could handle better than by ending the process: start-up and small fixed
 * objects. What a stranger can make large is allocated with malloc and checked. */
void *mem_zalloc(size_t size);

#endif

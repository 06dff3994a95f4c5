#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "storage/disk.h"

/* Most of the time of opening ten thousand functions is their metadata, and each is read by itself. */
enum { READERS_MAX = 4, READERS_WORTH = 256, READERS_STRIDE = 32 };

struct readers {
    const struct disk *disk;
    const struct disk_entry *entries;
    struct disk_read *reads;
    size_t count;
    atomic_size_t next;
};

static void *readers_thread(void *context) {
    struct readers *readers = context;
    size_t first;
    while ((first = atomic_fetch_add(&readers->next, READERS_STRIDE)) < readers->count) {
        for (size_t i = first; i < readers->count && i < first + READERS_STRIDE; i++) {
            struct disk_read *read = &readers->reads[i];
            read->rc = disk_read_meta(readers->disk, readers->entries[i].id, &read->meta, &read->err);
        }
    }
    return NULL;
}

void disk_read_metas(const struct disk *disk, const struct disk_entry *entries, size_t count,
                     struct disk_read *ret_reads) {
    struct readers readers = {.disk = disk, .entries = entries, .reads = ret_reads, .count = count};
    pthread_t threads[READERS_MAX];
    long processors = count < READERS_WORTH ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;
    /* Signals are for the thread that called us. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < processors - 1 && started < READERS_MAX - 1 &&
           pthread_create(&threads[started], NULL, readers_thread, &readers) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    readers_thread(&readers);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

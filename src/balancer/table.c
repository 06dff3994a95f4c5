#include "balancer/table.h"

#include <fcntl.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static const char *const table_state_names[TABLE_STATE_COUNT] = {
#define TABLE_NAME(name, label) [TABLE_##name] = (label),
    TABLE_STATES(TABLE_NAME)
#undef TABLE_NAME
};

static const char *const policy_strategy_names[POLICY_COUNT] = {
#define POLICY_NAME(name) [POLICY_##name] = #name,
    POLICY_STRATEGIES(POLICY_NAME)
#undef POLICY_NAME
};

static struct table *table_mmap(int fd) {
    void *mapped = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

int table_create(int *ret_fd, struct table **ret_table, struct err *err) {
    MEM_CLOSE_FD int fd = memfd_create("faas-table", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_sys(err, "memfd_create");
    if (ftruncate(fd, sizeof(struct table)) != 0)
        return err_sys(err, "ftruncate");
    /* Its size is fixed: nobody who maps it can be made to fault. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return err_sys(err, "F_ADD_SEALS");
    struct table *table = table_mmap(fd);
    if (!table)
        return err_sys(err, "mmap");
    table->magic = TABLE_MAGIC;
    table->format = TABLE_FORMAT;
    *ret_fd = mem_steal_fd(&fd);
    *ret_table = table;
    return 0;
}

int table_map(int fd, struct table **ret_table, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_sys(err, "fstat");
    int seals = fcntl(fd, F_GET_SEALS);
    if (st.st_size != sizeof(struct table) || seals < 0 || !(seals & F_SEAL_SHRINK))
        return err_set(err, ERR_BAD_REQUEST, "no worker table: %lld bytes, seals %d", (long long)st.st_size,
                       seals);
    struct table *table = table_mmap(fd);
    if (!table)
        return err_sys(err, "mmap");
    if (table->magic != TABLE_MAGIC || table->format != TABLE_FORMAT) {
        table_unmap(table);
        return err_set(err, ERR_BAD_REQUEST, "no worker table of format %d", TABLE_FORMAT);
    }
    *ret_table = table;
    return 0;
}

void table_unmap(struct table *table) {
    if (table)
        munmap(table, sizeof *table);
}

const char *table_state_name(uint32_t state) {
    return state < TABLE_STATE_COUNT ? table_state_names[state] : "unknown";
}

const char *policy_strategy_name(uint32_t strategy) {
    return strategy < POLICY_COUNT ? policy_strategy_names[strategy] : "unknown";
}

int policy_strategy_parse(const char *name, enum policy_strategy *ret_strategy, struct err *err) {
    for (unsigned i = 0; i < POLICY_COUNT; i++)
        if (strcasecmp(name, policy_strategy_names[i]) == 0) {
            *ret_strategy = (enum policy_strategy)i;
            return 0;
        }
    return err_set(err, ERR_BAD_REQUEST, "unknown strategy '%.64s': RR, FIFO or WEIGHTED", name);
}

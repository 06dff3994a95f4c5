/* Storage when it is cut off. A child does one operation under ptrace and stops at every system call: there
 * it is killed, or the call is made to fail, at each of them in turn. After each the data directory is opened
 * again, and must hold the old state or the new one, and nothing else. The same trace shows the order in
 * which things are brought to the disk, which is what a loss of power depends on. */
#include "storage_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "base/log.h"

/* ---- the operations ---- */

/* What the child reports; shared memory. */
struct crash_result {
    int rc, code;
};

struct crash_child {
    struct storage *storage;
    struct storage_meta meta;
    char stage[PATH_MAX];
};

struct crash_operation {
    const char *name;
    void (*before)(struct fixture *fixture); /* the state to start from, by the parent */
    void (*prepare)(struct crash_child *child);
    int (*run)(struct crash_child *child, struct err *err);
    /* After the directory was opened again: checks, and says whether the operation has happened. */
    bool (*happened)(struct fixture *fixture);
};

static void deploy_bystander(struct fixture *fixture) {
    fixture_deploy(fixture->storage, "bystander", false, "by");
}

static void deploy_first(struct fixture *fixture) {
    deploy_bystander(fixture);
    fixture_deploy(fixture->storage, "f", false, "one");
}

static void deploy_two(struct fixture *fixture) {
    deploy_first(fixture);
    fixture_deploy(fixture->storage, "f", true, "two");
}

static void prepare_publish(struct crash_child *child) {
    struct err err;
    child->meta = fixture_meta("f", 100000000, 1);
    assert_int_equal(storage_reserve(child->storage, "f", true, &child->meta, &err), 0);
    fixture_stage(child->storage, child->meta.version == 1 ? "one" : "two", &child->meta, child->stage);
}

static int run_publish(struct crash_child *child, struct err *err) {
    return storage_publish(child->storage, child->stage, &child->meta, err);
}

static void prepare_nothing(struct crash_child *child) {
    (void)child;
}

static int run_erase(struct crash_child *child, struct err *err) {
    return storage_erase(child->storage, "f", err);
}

static void prepare_replace(struct crash_child *child) {
    struct err err;
    child->meta = fixture_find(child->storage, "f")->meta;
    assert_int_equal(storage_stage(child->storage, child->stage, sizeof child->stage, &err), 0);
    fixture_write(child->stage, "code.cwasm", "native again");
    memset(child->meta.engine, 0, sizeof child->meta.engine);
    strcpy(child->meta.engine, "engine-9");
    storage_hash("native again", 12, child->meta.engine, child->meta.native_hash);
}

static int run_replace(struct crash_child *child, struct err *err) {
    return storage_replace_native(child->storage, child->stage, &child->meta, err);
}

static void assert_version_is_whole(struct fixture *fixture, const struct storage_version *version,
                                    const char *text) {
    assert_true(fixture_holds(fixture->storage, version->meta.id, "code.c", text));
    assert_true(fixture_holds(fixture->storage, version->meta.id, "code.wasm", text));
    assert_true(fixture_holds(fixture->storage, version->meta.id, "code.cwasm", text));
    assert_int_equal(fixture_count(fixture, version->meta.id), 4);
    uint8_t hash[STORAGE_HASH_BYTES];
    storage_hash(text, strlen(text), version->meta.engine, hash);
    assert_memory_equal(hash, version->meta.native_hash, sizeof hash);
}

/* Nothing is there but the bystander and `versions` of f. */
static void assert_nothing_else(const struct fixture *fixture, size_t versions) {
    assert_int_equal(fixture_count(fixture, "."), 2 + versions);
    assert_int_equal(fixture_count(fixture, "names"), 1 + (versions > 0));
}

static size_t assert_versions_are_whole(struct fixture *fixture) {
    static const char *const texts[] = {"one", "two"};
    assert_version_is_whole(fixture, fixture_find(fixture->storage, "bystander"), "by");
    const struct storage_version *version = fixture_find(fixture->storage, "f");
    size_t count = version ? version->meta.version : 0;
    for (; version; version = version->older)
        assert_version_is_whole(fixture, version, texts[version->meta.version - 1]);
    assert_nothing_else(fixture, count);
    return count;
}

static bool happened_publish(struct fixture *fixture) {
    return assert_versions_are_whole(fixture) == 1;
}

static bool happened_update(struct fixture *fixture) {
    size_t versions = assert_versions_are_whole(fixture);
    assert_true(versions >= 1);
    return versions == 2;
}

static bool happened_erase(struct fixture *fixture) {
    size_t versions = assert_versions_are_whole(fixture);
    assert_true(versions == 2 || versions == 0);
    return versions == 0;
}

static bool happened_replace(struct fixture *fixture) {
    const struct storage_version *version = fixture_find(fixture->storage, "f");
    assert_non_null(version);
    assert_nothing_else(fixture, 1);
    assert_int_equal(fixture_count(fixture, version->meta.id), 4);
    assert_true(fixture_holds(fixture->storage, version->meta.id, "code.c", "one"));
    bool new_code = fixture_holds(fixture->storage, version->meta.id, "code.cwasm", "native again");
    bool new_meta = strcmp(version->meta.engine, "engine-9") == 0;
    assert_true(new_code || fixture_holds(fixture->storage, version->meta.id, "code.cwasm", "one"));
    /* New code with the old hash is found out when it is loaded; a new hash never has old code. */
    assert_true(new_code || !new_meta);
    return new_meta;
}

/* ---- variables: the key of their secrets is in a directory of the test's own ---- */

#define CRASH_KEYS "keys-of-the-test"

static void open_vars(struct fixture *fixture) {
    char path[PATH_MAX];
    struct err err;
    fixture_path(fixture, CRASH_KEYS "/key", path);
    if (storage_open_vars(fixture->storage, path, &err) != 0)
        fail_msg("storage_open_vars: %s", err.msg);
}

static int set_secret(struct storage *storage, const char *value, struct vars **ret_vars, struct err *err) {
    struct storage_vars_change change = {.kind = STORAGE_VARS_SET,
                                         .secret = true,
                                         .name = "S",
                                         .value = (const uint8_t *)value,
                                         .len = strlen(value)};
    return storage_change_vars(storage, "f", &change, ret_vars, err);
}

static void deploy_for_vars(struct fixture *fixture) {
    char path[PATH_MAX];
    fixture_path(fixture, CRASH_KEYS, path);
    assert_int_equal(mkdir(path, 0700), 0);
    deploy_bystander(fixture);
    fixture_deploy(fixture->storage, "f", false, "one");
}

static void deploy_with_secret(struct fixture *fixture) {
    struct vars *vars = NULL;
    struct err err;
    deploy_for_vars(fixture);
    open_vars(fixture);
    assert_int_equal(set_secret(fixture->storage, "old", &vars, &err), 0);
    storage_install_vars(fixture->storage, "f", vars);
}

static void prepare_vars(struct crash_child *child) {
    struct err err;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" CRASH_KEYS "/key", storage_dir(child->storage));
    if (storage_open_vars(child->storage, path, &err) != 0)
        _exit(2);
}

static int run_set_secret(struct crash_child *child, struct err *err) {
    struct vars *vars;
    return set_secret(child->storage, "new", &vars, err);
}

/* What f has as its secret; "" = none. */
static void read_secret(struct fixture *fixture, char ret_value[4]) {
    struct err err;
    open_vars(fixture);
    const struct vars *vars = fixture_find(fixture->storage, "f")->vars;
    ret_value[0] = 0;
    if (!vars)
        return;
    assert_null(vars->problem);
    assert_int_equal(vars->count, 1);
    assert_int_equal(vars->entries[0].len, 3 + SEAL_OVERHEAD);
    assert_int_equal(
        storage_open_secret(fixture->storage, "f", &vars->entries[0], (uint8_t *)ret_value, &err), 0);
    ret_value[3] = 0;
    assert_int_equal(fixture_count(fixture, "vars"), 1);
}

static bool happened_first_secret(struct fixture *fixture) {
    char value[4];
    read_secret(fixture, value);
    assert_true(!*value || strcmp(value, "new") == 0);
    return *value;
}

static bool happened_next_secret(struct fixture *fixture) {
    char value[4];
    read_secret(fixture, value);
    assert_true(strcmp(value, "old") == 0 || strcmp(value, "new") == 0);
    return strcmp(value, "new") == 0;
}

static bool happened_erase_secret(struct fixture *fixture) {
    open_vars(fixture);
    const struct storage_version *version = fixture_find(fixture->storage, "f");
    assert_int_equal(fixture_exists(fixture, "vars/f.json"), version != NULL);
    assert_int_equal(fixture_count(fixture, "vars"), version != NULL);
    return !version;
}

static const struct crash_operation first_secret = {"first secret", deploy_for_vars, prepare_vars,
                                                    run_set_secret, happened_first_secret};
static const struct crash_operation next_secret = {"next secret", deploy_with_secret, prepare_vars,
                                                   run_set_secret, happened_next_secret};
static const struct crash_operation erase_secret = {"erase with a secret", deploy_with_secret, prepare_vars,
                                                    run_erase, happened_erase_secret};

static const struct crash_operation publish = {"publish", deploy_bystander, prepare_publish, run_publish,
                                               happened_publish};
static const struct crash_operation update = {"update", deploy_first, prepare_publish, run_publish,
                                              happened_update};
static const struct crash_operation erase = {"erase", deploy_two, prepare_nothing, run_erase, happened_erase};
static const struct crash_operation replace = {"replace", deploy_first, prepare_replace, run_replace,
                                               happened_replace};

/* ---- the traced child ---- */

static void crash_child_main(const struct fixture *fixture, const struct crash_operation *operation,
                             struct crash_result *result) {
    struct crash_child *child = calloc(1, sizeof *child);
    struct err err = {0};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (!child || dup2(quiet, STDOUT_FILENO) < 0 || storage_open(fixture->dir, &child->storage, &err) != 0)
        _exit(2);
    operation->prepare(child);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(3);
    raise(SIGSTOP);
    result->rc = operation->run(child, &err);
    result->code = err.code;
    _exit(0);
}

/* False: this machine does not let us trace. */
static bool crash_start(const struct fixture *fixture, const struct crash_operation *operation,
                        struct crash_result *result, pid_t *ret_pid) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        crash_child_main(fixture, operation, result);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return false;
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    assert_int_equal(
        ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)), 0);
    *ret_pid = pid;
    return true;
}

/* On to the next entry or exit of a system call; false: the child has ended. */
static bool crash_step(pid_t pid) {
    assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSTOPPED(status)) {
        assert_int_equal(WSTOPSIG(status), SIGTRAP | 0x80);
        return true;
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
}

static void crash_kill(pid_t pid) {
    int status;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static struct crash_result *crash_result_new(void) {
    void *shared =
        mmap(NULL, sizeof(struct crash_result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    return shared;
}

static void crash_begin(struct fixture *fixture, const struct crash_operation *operation) {
    fixture_close(fixture);
    fixture_remove_tree(fixture->dir);
    fixture_open(fixture);
    operation->before(fixture);
    fixture_close(fixture);
}

/* ---- killed at every system call ---- */

static void kill_everywhere(struct fixture *fixture, const struct crash_operation *operation) {
    struct crash_result *result = crash_result_new();
    bool over = false, happened = false;
    int flips = 0, stops = 0;
    for (; !over; stops++) {
        pid_t pid;
        crash_begin(fixture, operation);
        if (!crash_start(fixture, operation, result, &pid))
            skip();
        for (int i = 0; i <= stops && !over; i++)
            over = !crash_step(pid);
        if (!over)
            crash_kill(pid);
        fixture_open(fixture);
        bool now = operation->happened(fixture);
        flips += now != happened;
        happened = now;
        fixture_reopen(fixture);
        assert_int_equal(operation->happened(fixture), now);
    }
    /* Once done it stays done, however much later the end comes. */
    assert_true(happened);
    assert_int_equal(flips, 1);
    assert_int_equal(result->rc, 0);
    assert_true(stops > 20);
    print_message("%s: killed at %d places\n", operation->name, stops - 1);
    munmap(result, sizeof *result);
}

static void test_a_publish_killed_anywhere_is_whole_or_nothing(void **state) {
    kill_everywhere(*state, &publish);
}

static void test_an_update_killed_anywhere_is_whole_or_nothing(void **state) {
    kill_everywhere(*state, &update);
}

static void test_an_erase_killed_anywhere_is_whole_or_nothing(void **state) {
    kill_everywhere(*state, &erase);
}

static void test_a_replacement_killed_anywhere_is_never_wrong_code(void **state) {
    kill_everywhere(*state, &replace);
}

static void test_a_first_secret_killed_anywhere_is_whole_or_nothing(void **state) {
    kill_everywhere(*state, &first_secret);
}

static void test_a_next_secret_killed_anywhere_is_the_old_or_the_new(void **state) {
    kill_everywhere(*state, &next_secret);
}

static void test_an_erase_killed_anywhere_leaves_no_secret_without_its_function(void **state) {
    kill_everywhere(*state, &erase_secret);
}

/* ---- every system call made to fail ---- */

struct crash_call {
    bool entry;
    uint64_t nr, args[6];
};

static struct crash_call crash_call_at(pid_t pid) {
    struct __ptrace_syscall_info info = {0};
    assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0);
    struct crash_call call = {.entry = info.op == PTRACE_SYSCALL_INFO_ENTRY};
    if (call.entry) {
        call.nr = info.entry.nr;
        for (size_t i = 0; i < 6; i++)
            call.args[i] = info.entry.args[i];
    }
    return call;
}

/* Those that a full disk can refuse. */
static bool crash_call_needs_room(const struct crash_call *call) {
    if (!call->entry)
        return false;
    switch (call->nr) {
    case SYS_write:
    case SYS_fsync:
    case SYS_fchmod:
    case SYS_mkdirat:
    case SYS_symlinkat:
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2:
        return true;
    case SYS_openat:
        return call->args[2] & O_CREAT;
    default:
        return false;
    }
}

#ifdef __x86_64__
/* At its entry: the call does nothing, and returns -ENOSPC. */
static void crash_refuse(pid_t pid) {
    assert_int_equal(ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, regs.orig_rax), (void *)-1L),
                     0);
    assert_true(crash_step(pid));
    assert_int_equal(
        ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, regs.rax), (void *)-(long)ENOSPC), 0);
}
#else
static void crash_refuse(pid_t pid) {
    crash_kill(pid);
    skip();
}
#endif

/* The n-th call that needs room finds none: ERR_STORAGE_FULL, and what is visible is as before, without any
 * sweep. */
static void refuse_everywhere(struct fixture *fixture, const struct crash_operation *operation) {
    struct crash_result *result = crash_result_new();
    int at = 0;
    for (bool refused = true; refused; at++) {
        pid_t pid;
        crash_begin(fixture, operation);
        size_t entries = fixture_count(fixture, "."), names = fixture_count(fixture, "names");
        if (!crash_start(fixture, operation, result, &pid))
            skip();
        refused = false;
        for (int seen = 0; crash_step(pid);) {
            struct crash_call call = crash_call_at(pid);
            if (crash_call_needs_room(&call) && seen++ == at) {
                crash_refuse(pid);
                refused = true;
            }
        }
        if (!refused) {
            assert_int_equal(result->rc, 0);
            break;
        }
        assert_int_equal(result->rc, -ERR_STORAGE_FULL);
        assert_int_equal(result->code, ERR_STORAGE_FULL);
        assert_int_equal(fixture_count(fixture, "."), entries);
        assert_int_equal(fixture_count(fixture, "names"), names);
        fixture_open(fixture);
        /* The last step of these is only to make it last. */
        if (operation != &replace && operation != &next_secret)
            assert_false(operation->happened(fixture));
    }
    fixture_open(fixture);
    assert_true(operation->happened(fixture));
    print_message("%s: refused at %d places\n", operation->name, at);
    munmap(result, sizeof *result);
}

static void test_a_publish_on_a_full_disk_leaves_nothing(void **state) {
    refuse_everywhere(*state, &publish);
}

static void test_an_update_on_a_full_disk_leaves_the_old_version(void **state) {
    refuse_everywhere(*state, &update);
}

static void test_an_erase_that_fails_leaves_the_function(void **state) {
    refuse_everywhere(*state, &erase);
}

static void test_a_replacement_on_a_full_disk_leaves_no_stage(void **state) {
    refuse_everywhere(*state, &replace);
}

static void test_a_secret_on_a_full_disk_is_the_old_one(void **state) {
    refuse_everywhere(*state, &next_secret);
}

/* ---- what a loss of power depends on ---- */

static void crash_read_text(pid_t pid, uint64_t address, char *ret_text, size_t size) {
    struct iovec to = {ret_text, size - 1}, from = {(void *)(uintptr_t)address, size - 1};
    ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);
    ret_text[got > 0 ? got : 0] = 0;
}

/* The part of a path that says what it is: no random, no id. */
static const char *crash_kind(const char *path, const struct fixture *fixture) {
    const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (strcmp(path, fixture->dir) == 0)
        return "data";
    if (strncmp(last, ".stage-", 7) == 0)
        return "stage";
    if (strncmp(last, ".next-", 6) == 0)
        return "next";
    if (strncmp(last, "f_", 2) == 0)
        return "id";
    return last;
}

/* One word for every call that changes names or brings something to the disk. */
static void crash_describe(pid_t pid, const struct crash_call *call, const struct fixture *fixture,
                           struct buf *ret_text) {
    char first[PATH_MAX] = "", second[PATH_MAX] = "", link[64];
    if (!call->entry)
        return;
    if (call->nr == SYS_fsync) {
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)pid, (int)call->args[0]);
        ssize_t len = readlink(link, first, sizeof first - 1);
        first[len > 0 ? len : 0] = 0;
        buf_append_format(ret_text, "sync(%s) ", crash_kind(first, fixture));
    } else if (call->nr == SYS_renameat2
#ifdef SYS_renameat
               || call->nr == SYS_renameat
#endif
    ) {
        crash_read_text(pid, call->args[1], first, sizeof first);
        crash_read_text(pid, call->args[3], second, sizeof second);
        buf_append_format(ret_text, "rename(%s,%s) ", crash_kind(first, fixture),
                          crash_kind(second, fixture));
    } else if (call->nr == SYS_symlinkat) {
        crash_read_text(pid, call->args[2], first, sizeof first);
        buf_append_format(ret_text, "link(%s) ", crash_kind(first, fixture));
    } else if (call->nr == SYS_unlinkat) {
        crash_read_text(pid, call->args[1], first, sizeof first);
        buf_append_format(ret_text, "unlink(%s) ", crash_kind(first, fixture));
    }
}

static void assert_order(struct fixture *fixture, const struct crash_operation *operation, const char *want) {
    struct crash_result *result = crash_result_new();
    struct buf text = {0};
    pid_t pid;
    crash_begin(fixture, operation);
    if (!crash_start(fixture, operation, result, &pid))
        skip();
    while (crash_step(pid)) {
        struct crash_call call = crash_call_at(pid);
        crash_describe(pid, &call, fixture, &text);
    }
    buf_append(&text, "", 1);
    const char *got = (const char *)text.data;
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("%s: %s", operation->name, got);
    buf_fini(&text);
    munmap(result, sizeof *result);
}

static void test_everything_is_on_the_disk_before_what_points_to_it(void **state) {
    assert_order(*state, &publish,
                 "unlink(metadata.json) sync(metadata.json) sync(code.c) sync(code.wasm) sync(code.cwasm) "
                 "sync(stage) rename(stage,id) sync(data) link(f) sync(names) ");
    assert_order(*state, &update,
                 "unlink(metadata.json) sync(metadata.json) sync(code.c) sync(code.wasm) sync(code.cwasm) "
                 "sync(stage) rename(stage,id) sync(data) link(next) rename(next,f) sync(names) ");
    assert_order(*state, &erase, "unlink(f) sync(names) unlink(id) ");
    assert_order(*state, &replace,
                 "unlink(metadata.json) sync(metadata.json) sync(code.cwasm) "
                 "rename(code.cwasm,code.cwasm) rename(metadata.json,metadata.json) sync(id) ");
    assert_order(*state, &next_secret, "unlink(.next) sync(.next) rename(.next,f.json) sync(vars) ");
    assert_order(*state, &erase_secret, "unlink(f) sync(names) unlink(f.json) sync(vars) unlink(id) ");
}

int main(void) {
    struct err err;
    log_open("test", NULL, &err);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_in_memory, fixture_teardown)
        TEST(test_a_publish_killed_anywhere_is_whole_or_nothing),
        TEST(test_an_update_killed_anywhere_is_whole_or_nothing),
        TEST(test_an_erase_killed_anywhere_is_whole_or_nothing),
        TEST(test_a_replacement_killed_anywhere_is_never_wrong_code),
        TEST(test_a_first_secret_killed_anywhere_is_whole_or_nothing),
        TEST(test_a_next_secret_killed_anywhere_is_the_old_or_the_new),
        TEST(test_an_erase_killed_anywhere_leaves_no_secret_without_its_function),
        TEST(test_a_secret_on_a_full_disk_is_the_old_one),
        TEST(test_a_publish_on_a_full_disk_leaves_nothing),
        TEST(test_an_update_on_a_full_disk_leaves_the_old_version),
        TEST(test_an_erase_that_fails_leaves_the_function),
        TEST(test_a_replacement_on_a_full_disk_leaves_no_stage),
        TEST(test_everything_is_on_the_disk_before_what_points_to_it),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

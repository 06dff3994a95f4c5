#include "storage_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"

static mode_t mode_of(const struct fixture *fixture, const char *below) {
    char path[PATH_MAX];
    struct stat about;
    fixture_path(fixture, below, path);
    assert_int_equal(lstat(path, &about), 0);
    return about.st_mode & 07777;
}

static void link_name(const struct fixture *fixture, const char *name, const char *target) {
    char below[PATH_MAX], path[PATH_MAX];
    fixture_format(below, sizeof below, "names/%.200s", name);
    fixture_path(fixture, below, path);
    assert_int_equal(symlink(target, path), 0);
}

static void make_dir(const struct fixture *fixture, const char *below) {
    char path[PATH_MAX];
    fixture_path(fixture, below, path);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* A version without the help of what is tested. */
static void plant_version(const struct fixture *fixture, const char *name, uint64_t number,
                          uint32_t version) {
    struct storage_meta meta = fixture_meta(name, number, version);
    struct buf json = {0};
    struct err err;
    char path[PATH_MAX];
    meta.size = 4;
    assert_int_equal(storage_meta_encode(&meta, &json, &err), 0);
    buf_append(&json, "", 1);
    make_dir(fixture, meta.id);
    fixture_path(fixture, meta.id, path);
    fixture_write(path, "metadata.json", (const char *)json.data);
    fixture_write(path, "code.c", "text");
    buf_fini(&json);
}

static void test_a_published_version_is_on_the_disk_and_private(void **state) {
    struct fixture *fixture = *state;
    struct storage_version *version = fixture_deploy(fixture->storage, "f", false, "int main(void){}\n");
    char id[STORAGE_ID_MAX + 1], below[PATH_MAX], target[256] = "", path[PATH_MAX];
    fixture_format(id, sizeof id, "%s", version->meta.id);
    static const char *const files[] = {"code.c", "code.wasm", "code.cwasm"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(fixture_holds(fixture->storage, id, files[i], "int main(void){}\n"));
        fixture_format(below, sizeof below, "%s/%s", id, files[i]);
        assert_int_equal(mode_of(fixture, below), 0600);
    }
    fixture_format(below, sizeof below, "%s/metadata.json", id);
    assert_int_equal(mode_of(fixture, below), 0600);
    assert_int_equal(mode_of(fixture, id), 0700);
    assert_int_equal(fixture_count(fixture, id), 4);
    assert_int_equal(fixture_count(fixture, "."), 2);
    fixture_path(fixture, "names/f", path);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    fixture_format(below, sizeof below, "../%s", id);
    assert_string_equal(target, below);

    struct storage_meta before = version->meta;
    fixture_reopen(fixture);
    version = fixture_find(fixture->storage, "f");
    assert_non_null(version);
    assert_memory_equal(&version->meta, &before, sizeof before);
    assert_true(version->current && version->listed);
}

static void test_versions_survive_a_restart_with_their_order(void **state) {
    struct fixture *fixture = *state;
    char ids[3][STORAGE_ID_MAX + 1];
    for (int i = 0; i < 3; i++)
        fixture_format(ids[i], sizeof ids[i], "%s",
                       fixture_deploy(fixture->storage, "f", i > 0, "text")->meta.id);
    fixture_deploy(fixture->storage, "f-1", false, "text");
    for (int round = 0; round < 2; round++) {
        fixture_reopen(fixture);
        struct storage_version *version = fixture_find(fixture->storage, "f");
        for (int i = 2; i >= 0; i--, version = version->older) {
            assert_non_null(version);
            assert_string_equal(version->meta.id, ids[i]);
            assert_int_equal(version->meta.version, i + 1);
            assert_ptr_equal(fixture_find(fixture->storage, ids[i]), version);
        }
        assert_null(version);
        assert_int_equal(storage_count(fixture->storage), 2);
    }
    /* An id on the disk is not given again, though no process that gave it is left. */
    struct storage_meta meta = fixture_meta("f", 100000000, 1);
    struct err err;
    assert_int_equal(storage_reserve(fixture->storage, "f", true, &meta, &err), 0);
    assert_int_equal(meta.version, 4);
    for (int i = 0; i < 3; i++)
        assert_string_not_equal(meta.id, ids[i]);
}

static void test_a_taken_name_is_a_conflict_and_leaves_nothing(void **state) {
    struct fixture *fixture = *state;
    struct storage_version *version = fixture_deploy(fixture->storage, "f", false, "first");
    struct storage_meta meta = fixture_meta("f", 2000000000, 1);
    struct err err;
    assert_int_equal(fixture_try_publish(fixture->storage, &meta, "second", &err), -ERR_CONFLICT);
    assert_string_equal(err.msg, "function 'f' already exists");
    /* The same id: what is there is not touched. */
    meta = fixture_meta("f", 0, 2);
    fixture_format(meta.id, sizeof meta.id, "%s", version->meta.id);
    assert_int_equal(fixture_try_publish(fixture->storage, &meta, "third", &err), -ERR_CONFLICT);
    assert_int_equal(fixture_count(fixture, "."), 2);
    assert_int_equal(fixture_count(fixture, "names"), 1);
    assert_true(fixture_holds(fixture->storage, version->meta.id, "code.c", "first"));
}

static void test_a_stage_is_cleaned_and_checked(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct storage_meta meta = fixture_meta("f", 1700000000, 1);
    struct err err;
    char stage[PATH_MAX], path[PATH_MAX + 64];
    fixture_stage(storage, "text", &meta, stage);
    fixture_write(stage, "a.out", "left by a compiler");
    fixture_write(stage, "metadata.json", "{}");
    fixture_format(path, sizeof path, "%s/scratch", stage);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_write(path, "deep", "x");
    fixture_format(path, sizeof path, "%s/code.py", stage);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    fixture_format(path, sizeof path, "%s/code.c", stage);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(storage_publish(storage, stage, &meta, &err), 0);
    assert_int_equal(fixture_count(fixture, meta.id), 4);
    assert_int_equal(mode_of(fixture, "f_1700000000/code.c"), 0600);

    static const char *const missing[] = {"code.c", "code.wasm", "code.cwasm"};
    for (size_t i = 0; i < 3; i++)
        for (int linked = 0; linked < 2; linked++) {
            meta = fixture_meta("g", 1700000000, 1);
            fixture_stage(storage, "text", &meta, stage);
            fixture_format(path, sizeof path, "%s/%s", stage, missing[i]);
            assert_int_equal(unlink(path), 0);
            if (linked)
                assert_int_equal(symlink("/etc/passwd", path), 0);
            assert_int_equal(storage_publish(storage, stage, &meta, &err), -ERR_INTERNAL);
            assert_non_null(strstr(err.msg, missing[i]));
        }
    fixture_stage(storage, "text", &meta, stage);
    meta.size++;
    assert_int_equal(storage_publish(storage, stage, &meta, &err), -ERR_INTERNAL);
    fixture_stage(storage, "text", &meta, stage);
    meta.limits.memory_mb = 1u << 20;
    assert_int_equal(storage_publish(storage, stage, &meta, &err), -ERR_BAD_REQUEST);
    assert_int_equal(storage_publish(storage, "/tmp/.stage-elsewhere", &meta, &err), -ERR_INTERNAL);
    fixture_format(path, sizeof path, "%s/.stage-1/../names", fixture->dir);
    assert_int_equal(storage_publish(storage, path, &meta, &err), -ERR_INTERNAL);
    assert_int_equal(fixture_count(fixture, "."), 2);
    assert_int_equal(fixture_count(fixture, "names"), 1);
}

static void test_unstage_removes_a_stage_and_nothing_else(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    char stage[PATH_MAX], path[PATH_MAX + 64];
    struct err err;
    struct storage_meta meta = fixture_meta("f", 1700000000, 1);
    fixture_stage(storage, "text", &meta, stage);
    assert_int_equal(mode_of(fixture, strrchr(stage, '/') + 1), 0700);
    fixture_format(path, sizeof path, "%s/link", stage);
    assert_int_equal(symlink("../names", path), 0);
    fixture_deploy(storage, "kept", false, "text");
    storage_unstage(stage);
    storage_unstage(stage);
    fixture_path(fixture, "names", path);
    storage_unstage(path);
    storage_unstage("");
    storage_unstage("/");
    storage_unstage("no-slash");
    assert_int_equal(fixture_count(fixture, "."), 2);
    assert_int_equal(fixture_count(fixture, "names"), 1);
    assert_int_equal(storage_stage(storage, stage, 10, &err), -ERR_INTERNAL);
}

static void test_a_tree_of_any_depth_is_removed(void **state) {
    struct fixture *fixture = *state;
    char stage[PATH_MAX];
    struct err err;
    assert_int_equal(storage_stage(fixture->storage, stage, sizeof stage, &err), 0);
    int at = open(stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int depth = 0; depth < 1500; depth++) {
        assert_int_equal(mkdirat(at, "d", 0700), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
    storage_unstage(stage);
    assert_int_equal(fixture_count(fixture, "."), 1);
}

static void test_erase_leaves_nothing_of_the_name_and_all_of_others(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct err err;
    fixture_deploy(storage, "f", false, "text");
    fixture_deploy(storage, "f", true, "text");
    fixture_deploy(storage, "f_1", false, "text");
    fixture_deploy(storage, "f-g", false, "text");
    assert_int_equal(storage_erase(storage, "f", &err), 0);
    storage_index_remove(storage, "f");
    assert_int_equal(fixture_count(fixture, "."), 3);
    assert_int_equal(fixture_count(fixture, "names"), 2);
    assert_int_equal(storage_erase(storage, "f", &err), -ERR_NOT_FOUND);
    assert_int_equal(storage_erase(storage, "../names", &err), -ERR_BAD_REQUEST);
    fixture_reopen(fixture);
    storage = fixture->storage;
    assert_null(fixture_find(storage, "f"));
    assert_non_null(fixture_find(storage, "f_1"));
    assert_non_null(fixture_find(storage, "f-g"));
    assert_string_equal(fixture_deploy(storage, "f", false, "text")->meta.name, "f");
}

static void test_open_sweeps_what_was_not_finished(void **state) {
    struct fixture *fixture = *state;
    fixture_deploy(fixture->storage, "kept", false, "text");
    fixture_close(fixture);
    make_dir(fixture, ".stage-0123");
    char path[PATH_MAX];
    fixture_path(fixture, ".stage-0123", path);
    fixture_write(path, "code.c", "half");
    plant_version(fixture, "new", 1700000000, 1); /* renamed, not yet pointed at */
    plant_version(fixture, "upd", 1700000000, 1);
    plant_version(fixture, "upd", 1700000005, 2);
    plant_version(fixture, "upd", 1700000006, 3); /* newer than its name's link */
    plant_version(fixture, "upd", 1600000000, 9); /* a lower number, a higher version */
    link_name(fixture, "upd", "../upd_1700000005");
    link_name(fixture, ".next-77", "../upd_1700000006");
    link_name(fixture, "gone", "../gone_1700000000");
    link_name(fixture, "passwd", "/etc/passwd");
    link_name(fixture, "other", "../upd_1700000005");
    link_name(fixture, "up", "../upd_1700000005/../upd_1700000005");
    make_dir(fixture, "half_1700000000"); /* a removal that was cut off */
    fixture_open(fixture);
    struct storage *storage = fixture->storage;
    assert_int_equal(storage_count(storage), 2);
    assert_int_equal(fixture_count(fixture, "names"), 2);
    assert_int_equal(fixture_count(fixture, "."), 4); /* names, kept_…, upd_1700000000, upd_1700000005 */
    assert_int_equal(fixture_find(storage, "upd")->meta.version, 2);
    assert_non_null(fixture_find(storage, "upd_1700000000"));
    assert_null(fixture_find(storage, "upd_1700000006"));
    assert_null(fixture_find(storage, "upd_1600000000"));
    assert_null(fixture_find(storage, "new"));
    assert_null(fixture_find(storage, "passwd"));
    assert_non_null(fixture_find(storage, "kept"));
}

static void test_damaged_metadata_is_left_alone_and_mended_by_an_update(void **state) {
    struct fixture *fixture = *state;
    struct storage_meta meta = fixture_meta("f", 100000000, 1);
    struct err err;
    char path[PATH_MAX], id[STORAGE_ID_MAX + 1];
    fixture_deploy(fixture->storage, "f", false, "first");
    fixture_format(id, sizeof id, "%s", fixture_deploy(fixture->storage, "f", true, "second")->meta.id);
    fixture_deploy(fixture->storage, "g", false, "text");
    fixture_close(fixture);
    fixture_path(fixture, id, path);
    fixture_write(path, "metadata.json", "{\"format\":1");
    fixture_open(fixture);
    struct storage *storage = fixture->storage;
    assert_null(fixture_find(storage, "f"));
    assert_null(fixture_find(storage, id));
    assert_int_equal(storage_count(storage), 1);
    assert_true(fixture_exists(fixture, id));
    assert_true(storage_find_function(storage, "f")->damaged);
    assert_int_equal(storage_reserve(storage, "f", false, &meta, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "cannot be read"));
    struct storage_version *version = fixture_deploy(storage, "f", true, "third");
    assert_string_not_equal(version->meta.id, id);
    assert_int_equal(version->meta.version, 3);
    fixture_reopen(fixture);
    version = fixture_find(fixture->storage, "f");
    assert_int_equal(version->meta.version, 3);
    assert_int_equal(version->older->meta.version, 1);
    assert_int_equal(storage_erase(fixture->storage, "f", &err), 0);
    assert_false(fixture_exists(fixture, id));
}

static void test_a_damaged_function_can_be_erased(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    fixture_close(fixture);
    make_dir(fixture, "f_1700000000");
    link_name(fixture, "f", "../f_1700000000");
    plant_version(fixture, "g", 1700000000, 1); /* metadata of another id */
    char from[PATH_MAX], to[PATH_MAX];
    fixture_path(fixture, "g_1700000000", from);
    fixture_path(fixture, "g_1700000001", to);
    assert_int_equal(rename(from, to), 0);
    link_name(fixture, "g", "../g_1700000001");
    fixture_open(fixture);
    static const char *const names[] = {"f", "g"};
    for (int i = 0; i < 2; i++) {
        assert_true(storage_find_function(fixture->storage, names[i])->damaged);
        assert_int_equal(storage_erase(fixture->storage, names[i], &err), 0);
        storage_index_remove(fixture->storage, names[i]);
    }
    assert_int_equal(fixture_count(fixture, "."), 1);
    fixture_deploy(fixture->storage, "f", false, "text");
}

static void test_hostile_entries_are_not_followed(void **state) {
    struct fixture *fixture = *state;
    char outside[PATH_MAX], path[PATH_MAX + 64];
    struct buf bytes = {0};
    struct err err;
    fixture_deploy(fixture->storage, "real", false, "text");
    fixture_close(fixture);
    fixture_format(outside, sizeof outside, "%s-outside", fixture->dir);
    assert_int_equal(mkdir(outside, 0700), 0);
    fixture_write(outside, "precious", "data");
    /* A version that is a link, one whose metadata is a link or a FIFO, a stage that is a link. */
    fixture_path(fixture, "link_1700000000", path);
    assert_int_equal(symlink(outside, path), 0);
    link_name(fixture, "link", "../link_1700000000");
    make_dir(fixture, "fifo_1700000000");
    fixture_path(fixture, "fifo_1700000000/metadata.json", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    link_name(fixture, "fifo", "../fifo_1700000000");
    plant_version(fixture, "meta", 1700000000, 1);
    fixture_path(fixture, "meta_1700000000/metadata.json", path);
    assert_int_equal(unlink(path), 0);
    fixture_format(outside, sizeof outside, "%s-outside/precious", fixture->dir);
    assert_int_equal(symlink(outside, path), 0);
    link_name(fixture, "meta", "../meta_1700000000");
    fixture_path(fixture, "meta_1700000000/code.wasm", path);
    assert_int_equal(symlink(outside, path), 0);
    fixture_path(fixture, ".stage-link", path);
    fixture_format(outside, sizeof outside, "%s-outside", fixture->dir);
    assert_int_equal(symlink(outside, path), 0);
    make_dir(fixture, "orphan_1700000000");
    fixture_path(fixture, "orphan_1700000000/out", path);
    assert_int_equal(symlink(outside, path), 0);
    fixture_open(fixture);
    struct storage *storage = fixture->storage;
    assert_int_equal(storage_count(storage), 1);
    assert_false(fixture_exists(fixture, "orphan_1700000000"));
    assert_false(fixture_exists(fixture, ".stage-link"));
    assert_int_equal(storage_read(storage, "meta_1700000000", "code.wasm", 100, &bytes, &err), -ERR_IO);
    assert_int_equal(storage_read(storage, "fifo_1700000000", "metadata.json", 100, &bytes, &err), -ERR_IO);
    assert_int_equal(storage_erase(storage, "meta", &err), 0);
    assert_int_equal(storage_erase(storage, "fifo", &err), 0);
    fixture_format(path, sizeof path, "%s/precious", outside);
    assert_int_equal(access(path, F_OK), 0);
    fixture_remove_tree(outside);
}

static void test_strange_entries_are_left_alone(void **state) {
    struct fixture *fixture = *state;
    enum { MANY = 5000 };
    fixture_deploy(fixture->storage, "f", false, "text");
    fixture_close(fixture);
    int dir = open(fixture->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < MANY; i++) {
        char name[NAME_MAX + 1];
        int len = snprintf(name, sizeof name, "stray %d \xff\n_%09d", i, i);
        if (i % 100 == 0)
            memset(name + len, 'x', sizeof name - 1 - (size_t)len), name[NAME_MAX] = 0;
        int fd = openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    close(dir);
    make_dir(fixture, "names/directory");
    make_dir(fixture, "lost+found");
    char path[PATH_MAX];
    fixture_path(fixture, "file_1700000000", path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    size_t before = fixture_count(fixture, ".");
    fixture_open(fixture);
    assert_int_equal(storage_count(fixture->storage), 1);
    assert_int_equal(fixture_count(fixture, "."), before);
    /* A name that a stray directory holds cannot be had, and says so. */
    struct storage_meta meta = fixture_meta("directory", 1700000000, 1);
    struct err err;
    assert_int_equal(fixture_try_publish(fixture->storage, &meta, "text", &err), -ERR_CONFLICT);
    meta = fixture_meta("file", 1700000000, 1);
    assert_int_equal(fixture_try_publish(fixture->storage, &meta, "text", &err), -ERR_CONFLICT);
    assert_int_equal(fixture_count(fixture, "."), before);
}

static void test_a_directory_that_lost_its_names_is_refused_not_swept(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    fixture_deploy(fixture->storage, "f", false, "text");
    fixture_close(fixture);
    char path[PATH_MAX];
    fixture_path(fixture, "names", path);
    fixture_remove_tree(path);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(storage_open(fixture->dir, &fixture->storage, &err), -ERR_INTERNAL);
        assert_non_null(strstr(err.msg, "names"));
        assert_int_equal(fixture_count(fixture, "."), 1);
    }
}

static void test_read_is_bounded(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct storage_version *version = fixture_deploy(storage, "f", false, "0123456789");
    struct buf bytes = {0};
    struct err err;
    buf_append_str(&bytes, "old");
    assert_int_equal(storage_read(storage, version->meta.id, "code.c", 9, &bytes, &err), -ERR_TOO_LARGE);
    static const char *const files[] = {"code.py",  "../names/f",  "code.",  "",   ".",
                                        "code.c/.", "/etc/passwd", "codexc", "..", "metadata"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        assert_int_equal(storage_read(storage, version->meta.id, files[i], 100, &bytes, &err),
                         -ERR_NOT_FOUND);
    assert_int_equal(storage_read(storage, "names", "code.c", 100, &bytes, &err), -ERR_NOT_FOUND);
    assert_int_equal(storage_read(storage, "f_1", "code.c", 100, &bytes, &err), -ERR_NOT_FOUND);
    assert_int_equal(storage_read(storage, "f_123456789", "code.c", 100, &bytes, &err), -ERR_NOT_FOUND);
    assert_int_equal(storage_read(storage, "../x_123456789", "code.c", 100, &bytes, &err), -ERR_NOT_FOUND);
    assert_int_equal(bytes.len, 3);
    assert_int_equal(storage_read(storage, version->meta.id, "code.c", 10, &bytes, &err), 0);
    assert_int_equal(bytes.len, 10);
    buf_fini(&bytes);
    /* Large, and every byte. */
    size_t len = 3 << 20;
    char *large = malloc(len + 1);
    assert_non_null(large);
    for (size_t i = 0; i < len; i++)
        large[i] = (char)(i % 255 + 1);
    large[len] = 0;
    version = fixture_deploy(storage, "g", false, large);
    assert_int_equal(storage_read(storage, version->meta.id, "code.c", len, &bytes, &err), 0);
    assert_int_equal(bytes.len, len);
    assert_memory_equal(bytes.data, large, len);
    buf_fini(&bytes);
    free(large);
}

static void test_replace_native(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct storage_version *version = fixture_deploy(storage, "f", false, "text");
    struct storage_meta meta = version->meta;
    char stage[PATH_MAX];
    struct err err;
    assert_int_equal(storage_stage(storage, stage, sizeof stage, &err), 0);
    fixture_write(stage, "code.cwasm", "native again");
    memset(meta.engine, 0, sizeof meta.engine);
    fixture_format(meta.engine, sizeof meta.engine, "%s", "engine-9");
    storage_hash("native again", 12, meta.engine, meta.native_hash);
    assert_int_equal(storage_replace_native(storage, stage, &meta, &err), 0);
    assert_true(fixture_holds(storage, meta.id, "code.cwasm", "native again"));
    assert_true(fixture_holds(storage, meta.id, "code.c", "text"));
    assert_int_equal(fixture_count(fixture, meta.id), 4);
    assert_int_equal(fixture_count(fixture, "."), 2);
    fixture_reopen(fixture);
    storage = fixture->storage;
    assert_memory_equal(&fixture_find(storage, "f")->meta, &meta, sizeof meta);
    /* Of a version that was erased meanwhile, and without what it is about. */
    assert_int_equal(storage_erase(storage, "f", &err), 0);
    assert_int_equal(storage_stage(storage, stage, sizeof stage, &err), 0);
    fixture_write(stage, "code.cwasm", "native again");
    assert_int_equal(storage_replace_native(storage, stage, &meta, &err), -ERR_NOT_FOUND);
    assert_int_equal(storage_stage(storage, stage, sizeof stage, &err), 0);
    assert_int_equal(storage_replace_native(storage, stage, &meta, &err), -ERR_INTERNAL);
    meta.wasm = false;
    assert_int_equal(storage_stage(storage, stage, sizeof stage, &err), 0);
    assert_int_equal(storage_replace_native(storage, stage, &meta, &err), -ERR_INTERNAL);
    assert_int_equal(fixture_count(fixture, "."), 1);
}

static void test_one_instance_at_a_time(void **state) {
    struct fixture *fixture = *state;
    struct storage *second;
    struct err err;
    assert_int_equal(storage_open(fixture->dir, &second, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "in use by another instance"));
    char pid[32];
    fixture_format(pid, sizeof pid, "(pid %ld)", (long)getpid());
    assert_non_null(strstr(err.msg, pid));
    fixture_close(fixture);
    /* The lock goes with the process that has it, however that ends. */
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        fixture_open(fixture);
        if (write(ready[1], "r", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(storage_open(fixture->dir, &second, &err), -ERR_CONFLICT);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    fixture_open(fixture);
}

static void test_the_directory_is_made_with_what_is_above_it(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage;
    struct err err;
    char path[PATH_MAX], file[PATH_MAX + 16];
    fixture_path(fixture, "deep//er/data/", path);
    assert_int_equal(storage_open(path, &storage, &err), 0);
    assert_string_not_equal(storage_dir(storage), path);
    assert_int_equal(storage_dir(storage)[0], '/');
    assert_int_equal(mode_of(fixture, "deep/er/data"), 0700);
    storage_free(storage);
    fixture_format(file, sizeof file, "%s.lock/data", path);
    assert_int_equal(storage_open(file, &storage, &err), -ERR_IO);
    assert_int_equal(storage_open("", &storage, &err), -ERR_BAD_REQUEST);
}

static void test_ten_thousand_functions_open_quickly(void **state) {
    struct fixture *fixture = *state;
    enum { MANY = 10000 };
    fixture_close(fixture);
    for (uint64_t i = 0; i < MANY; i++) {
        char name[32], target[64];
        fixture_format(name, sizeof name, "fn-%d", (int)i);
        fixture_format(target, sizeof target, "../%s_%d", name, (int)(1700000000 + i * 7919 % MANY));
        plant_version(fixture, name, 1700000000 + i * 7919 % MANY, 1);
        link_name(fixture, name, target);
    }
    uint64_t best_ns = UINT64_MAX;
    for (int round = 0; round < 3; round++) {
        uint64_t start_ns = clock_now_ns();
        fixture_open(fixture);
        uint64_t took_ns = clock_now_ns() - start_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
        if (round < 2)
            fixture_close(fixture);
    }
    print_message("%d functions: open takes %.1f ms warm\n", MANY, (double)best_ns / 1e6);
    assert_int_equal(storage_count(fixture->storage), MANY);
    uint64_t last = UINT64_MAX;
    for (struct storage_version *at = NULL; (at = storage_next(fixture->storage, at));
         last = at->meta.created_s)
        assert_true(at->meta.created_s < last);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(test_a_published_version_is_on_the_disk_and_private),
        TEST(test_versions_survive_a_restart_with_their_order),
        TEST(test_a_taken_name_is_a_conflict_and_leaves_nothing),
        TEST(test_a_stage_is_cleaned_and_checked),
        TEST(test_unstage_removes_a_stage_and_nothing_else),
        cmocka_unit_test_setup_teardown(test_a_tree_of_any_depth_is_removed, fixture_setup_in_memory,
                                        fixture_teardown),
        TEST(test_erase_leaves_nothing_of_the_name_and_all_of_others),
        TEST(test_open_sweeps_what_was_not_finished),
        TEST(test_damaged_metadata_is_left_alone_and_mended_by_an_update),
        TEST(test_a_damaged_function_can_be_erased),
        TEST(test_hostile_entries_are_not_followed),
        cmocka_unit_test_setup_teardown(test_strange_entries_are_left_alone, fixture_setup_in_memory,
                                        fixture_teardown),
        TEST(test_a_directory_that_lost_its_names_is_refused_not_swept),
        TEST(test_read_is_bounded),
        TEST(test_replace_native),
        TEST(test_one_instance_at_a_time),
        TEST(test_the_directory_is_made_with_what_is_above_it),
        cmocka_unit_test_setup_teardown(test_ten_thousand_functions_open_quickly, fixture_setup_in_memory,
                                        fixture_teardown),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

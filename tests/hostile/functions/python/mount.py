# Tries: mounts, by the old and the new calls, chroot, pivot_root, and to take away what covers the host. Expected: refused
# (200). What got through is undone at once.
os.makedirs("/tmp/mnt", exist_ok=True)
def mounted(result):
    call(166, b"/tmp/mnt", 2)
    return "mounted"
attempt("tmpfs", lambda: mounted(call(165, b"none", b"/tmp/mnt", b"tmpfs", 0, 0)))
attempt("proc", lambda: mounted(call(165, b"none", b"/tmp/mnt", b"proc", 0, 0)))
attempt("sysfs", lambda: mounted(call(165, b"none", b"/tmp/mnt", b"sysfs", 0, 0)))
attempt("cgroup2", lambda: mounted(call(165, b"none", b"/tmp/mnt", b"cgroup2", 0, 0)))
attempt("bind", lambda: mounted(call(165, b"/usr", b"/tmp/mnt", 0, 4096, 0)))
attempt("fsopen", lambda: f"descriptor {call(430, b'tmpfs', 0)}")
attempt("open_tree", lambda: f"descriptor {call(428, -100, b'/', 1)}")
attempt("mount_setattr", lambda: call(442, -100, b"/tmp", 0, (ctypes.c_uint64 * 4)(), 32) == 0 and "set")
def new_root():
    child = os.fork()
    if child == 0:
        try:
            os.chroot("/tmp")
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0 and "changed"
attempt("chroot", new_root)
attempt("pivot_root", lambda: call(155, b".", b".") == 0 and "changed")
say("end")

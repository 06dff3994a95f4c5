# Tries: a descriptor that leads outside: every open one is looked at, and a directory is walked up to the host's root.
# Expected: none (200).
target = read_target()
for fd in range(64):
    try:
        where = os.readlink(f"/proc/self/fd/{fd}")
        is_folder = os.stat(fd).st_mode & 0o170000 == 0o040000
    except OSError:
        continue
    held(f"descriptor {fd}", where)
    if is_folder:
        attempt(f"up from {fd}", lambda: os.open("../" * 12 + target["secret"], os.O_RDONLY, dir_fd=fd))
    if where.startswith("/") and not where.startswith(("/dev/", "/proc/", "/tmp/")):
        escaped(f"descriptor {fd}", where)
say("end")

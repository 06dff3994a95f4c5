# Tries: shared memory, semaphores and message queues of System V and POSIX, which would outlive it or reach others.
# Expected: none that the host sees (200; the test looks for the key), and none of the call before.
target = read_target()
KEY, IPC_CREAT = int(target["marker"][:7], 16), 0o1000
def segment():
    existing = libc.shmget(KEY, 4096, 0)
    if existing >= 0:
        return f"segment {existing} of another"
    libc.shmget(KEY, 4096, IPC_CREAT | 0o666)
    libc.semget(KEY, 1, IPC_CREAT | 0o666)
    libc.msgget(KEY, IPC_CREAT | 0o666)
attempt("System V", segment)
def posix():
    path = "/dev/shm/hostile-" + target["marker"]
    if os.path.exists(path):
        return "left by another"
    open(path, "w").close()
attempt("POSIX", posix)
def queue():
    name = b"/hostile-" + target["marker"].encode()
    if libc.mq_open(name, os.O_RDWR) >= 0:
        return "left by another"
    libc.mq_open(name, os.O_RDWR | os.O_CREAT, 0o666, None)
attempt("message queue", queue)
say("end")

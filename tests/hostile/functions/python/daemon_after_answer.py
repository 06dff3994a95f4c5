# Tries: to leave a process behind that lives on after its answer, also as a child of its parent (CLONE_PARENT).
# Expected: the answer comes at once (200), and no process is left.
target = read_target()
mark(target["marker"])
CLONE_PARENT = 0x8000
null = os.open("/dev/null", os.O_RDWR)
for fork in (os.fork, lambda: call(56, CLONE_PARENT | 17, 0, 0, 0, 0)):
    try:
        child = fork()
    except OSError as error:
        held("clone", error)
        continue
    if child == 0:
        os.setsid()
        for fd in range(3):
            os.dup2(null, fd)
        time.sleep(20)
        os._exit(0)
say("end")

# Tries: to leave something for the next caller: a file, an environment variable, a module, a link, its memory, a process.
# Expected: a script finds nothing of the call before (200, twice).
target = read_target()
mark(target["marker"])
for path in ("/tmp/left", "/tmp/.left", "/dev/shm/left", "/var/tmp/left"):
    attempt(path, lambda: os.path.exists(path) and "of the call before")
(escaped if "LEFT" in os.environ else held)("environment")
(escaped if hasattr(sys, "left") else held)("module")
others = [name for name in processes() if name not in ("1", str(os.getpid()))]
for pid in others:
    name = open(f"/proc/{pid}/comm").read()
    if name.startswith("hst-"):
        escaped("process", name)
held("processes", others)
for path in ("/tmp/left", "/tmp/.left"):
    open(path, "w").close()
os.environ["LEFT"] = "1"
sys.left = True
if os.fork() == 0:
    os.setsid()
    for fd in range(3):
        os.close(fd)
    time.sleep(20)
    os._exit(0)
say("end")

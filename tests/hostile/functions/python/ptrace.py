# Tries: to trace its parent, its init, processes of the host, and a child of its own. Expected: refused (200). Nothing is
# stopped: PTRACE_SEIZE does not, and the tracer's end lets go.
target = read_target()
PTRACE_SEIZE = 0x4206
child = os.fork()
if child == 0:
    time.sleep(5)
    os._exit(0)
for pid in {1, os.getppid(), child, *target["pids"]} - {os.getpid()}:
    attempt(f"ptrace {pid}", lambda: call(101, PTRACE_SEIZE, pid, 0, 0) == 0 and "seized")
os.kill(child, 9)
say("end")

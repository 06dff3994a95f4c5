# Tries: to end the init of its own sandbox, which watches over it. Expected: the init lives on, and the call ends as it
# would have (200). Only sent where process 1 is seen to be the sandbox's.
import signal
try:
    name = open("/proc/1/comm").read().strip()
except OSError:
    name = ""
if name.startswith(("spare-", "worker-")):
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGCHLD):
        try:
            os.kill(1, number)
        except OSError as error:
            held(f"signal {number}", error)
    time.sleep(0.05)
    state = open("/proc/1/stat").read().rpartition(")")[2].split()[0]
    (escaped if state in "TZX" else held)("init", state)
else:
    held("init", f"process 1 is {name or 'hidden'}")
say("end")

# Tries: to be mistaken for a fault of the platform: it kills its whole process group and all it can reach. Only where the
# processes that it sees are the sandbox's own. Expected: 502 crash.
import signal
visible = processes()
if len(visible) > 8:
    escaped("processes visible", len(visible))
    say("end")
    sys.exit()
if os.fork() == 0:
    time.sleep(20)
os.kill(-1, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)

# Tries: to hang where no deadline inside could be met: it stops itself, with its children. Expected: 504 timeout.
import signal
target = read_target()
mark(target["marker"])
say("ready")
os.fork()
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(20)

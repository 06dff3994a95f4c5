# Tries: to outlive its deadline by ignoring and blocking every signal. Expected: 504 timeout, and it is gone.
import signal
target = read_target()
mark(target["marker"])
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
say("ready")
end = time.monotonic() + 20
while time.monotonic() < end:
    pass
escaped("deadline", "20 s have passed")

# Tries: to signal processes of the host, other functions' among them (signal 0 only). Expected: there are none (200).
import signal
target = read_target()
for pid in target["pids"]:
    if pid != os.getpid() and not os.path.exists(f"/proc/{pid}/task/{os.getpid()}"):
        attempt(f"kill {pid}", lambda: os.kill(pid, 0) or "reached")
        attempt(f"killpg {pid}", lambda: os.killpg(pid, 0) or "reached")
        attempt(f"pidfd {pid}", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0) or "reached")
visible = processes()
(escaped if len(visible) > 8 else held)("processes visible", len(visible))
say("end")

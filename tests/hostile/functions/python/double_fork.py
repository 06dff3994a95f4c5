# Tries: to outlive its deadline in a grandchild of a session of its own, which would send a packet and make a file later.
# Expected: 504 timeout, and nothing of it is left, nor does anything arrive.
import socket
target = read_target()
mark(target["marker"])
for detached in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for _ in range(60):
                time.sleep(0.1)
                try:
                    open(f"{target['drop']}/late-{detached}", "w").close()
                except OSError:
                    pass
                try:
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"late", ("127.0.0.1", target["udp"]))
                except OSError:
                    pass
            os._exit(0)
        os._exit(0)
say("ready")
time.sleep(6)
escaped("deadline", "6 s have passed")

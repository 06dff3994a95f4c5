# Tries: to be reached from outside: it listens on TCP, on a UNIX socket by abstract name and by path, and waits.
# Expected: nobody finds it; the test's own connections fail (200).
import socket
target = read_target()
sockets = []
for family, address in ((socket.AF_INET, ("0.0.0.0", target["free"])), (socket.AF_UNIX, "\0listen-" + target["abstract"]),
                        (socket.AF_UNIX, "/tmp/listen-" + target["marker"])):  # fmt: skip
    def listen():
        server = socket.socket(family)
        sockets.append(server)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen()
        server.settimeout(0.4)
        if server.accept():
            return "somebody came"
    attempt(repr(address), listen)
say("end")

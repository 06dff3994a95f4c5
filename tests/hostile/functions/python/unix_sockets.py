# Tries: UNIX sockets of the host: the platform's own, one of the test's by path, one by abstract name.
# Expected: none is reached (200).
import socket
target = read_target()
for path in (target["unix"], "\0" + target["abstract"], f"{target['run']}/faas_lb.sock", f"{target['run']}/faas_server.sock",
             "/run/docker.sock", "/run/dbus/system_bus_socket"):  # fmt: skip
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        def connect():
            with socket.socket(socket.AF_UNIX, kind) as unix:
                unix.settimeout(1)
                unix.connect(path)
                return "connected"
        attempt(repr(path), connect)
say("end")

# Tries: TCP to a listening port of the host, and to the gateway's. Expected: no connection (200; the test counts too).
import socket
target = read_target()
for port in (target["tcp"], target["tcp6"], target["gateway"]):
    for address in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "0.0.0.0"):
        def connect():
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as tcp:
                tcp.settimeout(1)
                tcp.connect((address, port))
                return "connected"
        attempt(f"{address} {port}", connect)
say("end")

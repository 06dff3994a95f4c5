# Tries: UDP to a port of the host on every loopback address, sent and connected. Expected: no packet arrives (200; the
# test counts).
import socket
target = read_target()
for address in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "0.0.0.0", "localhost"):
    def send():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(b"hostile", (address, target["udp"]))
            udp.connect((address, target["udp"]))
            udp.send(b"hostile")
    try:
        send()
        held(address, "sent somewhere")
    except OSError as error:
        held(address, error)
say("end")

# Tries: to see the host's interfaces, connections and routes, and to bring up one of its own. Expected: nothing but a
# loopback (200).
import fcntl
import socket
import struct
for path in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/unix", "/proc/net/route", "/proc/net/arp"):
    attempt(path, lambda: open(path).read().splitlines()[1:])
attempt("/proc/net/dev", lambda: [line.split()[0] for line in open("/proc/net/dev").read().splitlines()[2:] if "lo:" not in line])
def bring_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, 0x8913, request))[1]
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", flags | 1))
        return "lo is up"
attempt("SIOCSIFFLAGS", bring_up)
say("end")

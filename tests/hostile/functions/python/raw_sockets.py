# Tries: sockets that see or forge packets: raw IP, ICMP, packet sockets. Expected: refused (200).
import socket
for what, arguments in {
    "raw icmp": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), "raw tcp": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
    "raw ip6": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6), "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0x0300),
    "packet dgram": (socket.AF_PACKET, socket.SOCK_DGRAM, 0x0300),
}.items():  # fmt: skip
    attempt(what, lambda: f"socket {socket.socket(*arguments).fileno()}")
say("end")

# Tries: families of sockets that a function has no use for, each a large piece of the kernel: netlink is what shows or
# sets the network, AF_ALG the kernel's ciphers, AF_VSOCK the hypervisor. Expected: refused (200).
import socket
for what, family, kind, protocol in (
    ("netlink route", 16, socket.SOCK_RAW, 0), ("netlink netfilter", 16, socket.SOCK_RAW, 12), ("alg", 38, socket.SOCK_SEQPACKET, 0),
    ("vsock", 40, socket.SOCK_STREAM, 0), ("key", 15, socket.SOCK_RAW, 2), ("can", 29, socket.SOCK_RAW, 1), ("tipc", 30, socket.SOCK_STREAM, 0),
    ("rds", 21, socket.SOCK_SEQPACKET, 0), ("x25", 9, socket.SOCK_SEQPACKET, 0), ("xdp", 44, socket.SOCK_RAW, 0), ("sctp", 2, socket.SOCK_STREAM, 132),
):  # fmt: skip
    attempt(what, lambda: f"socket {socket.socket(family, kind, protocol).fileno()}")
say("end")

# Tries: to sleep past its deadline: poll_oneoff with 4,096 clocks of 292 years, and with 4,000,000,000. Expected: 504 timeout.
from wasm import DROP, EMPTY, END, I32, LOOP, call, const, function_type, module

CLOCK = bytes(16) + (1).to_bytes(8, "little") + b"\xff" * 8 + bytes(16)
POLL = const(0) + const(262144) + const(4096) + const(500000) + call(0) + DROP
WILD = const(0) + const(262144) + const(-1) + const(500000) + call(0) + DROP
MODULE = module(LOOP + EMPTY + WILD + POLL + b"\x0c\x00" + END, memory=b"\x00\x10", imports=[("poll_oneoff", 1)],
                types=[function_type(I32 * 4, I32)], data=[(0, CLOCK * 4096)])  # fmt: skip

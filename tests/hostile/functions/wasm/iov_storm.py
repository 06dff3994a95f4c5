# Tries: to keep the worker inside of the host: an endless loop of the largest fd_write that is allowed, of nothing.
# Expected: 504 timeout.
from wasm import DROP, EMPTY, END, I32, LOOP, call, const, function_type, module

WRITE = const(1) + const(0) + const(1024) + const(9000) + call(0) + DROP
MODULE = module(LOOP + EMPTY + WRITE + b"\x0c\x00" + END, imports=[("fd_write", 1)], types=[function_type(I32 * 4, I32)])

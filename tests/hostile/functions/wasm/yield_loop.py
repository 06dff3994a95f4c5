# Tries: an endless loop that is only calls of the host. Expected: 504 timeout.
from wasm import DROP, EMPTY, END, I32, LOOP, call, function_type, module

MODULE = module(LOOP + EMPTY + call(0) + DROP + b"\x0c\x00" + END, imports=[("sched_yield", 1)], types=[function_type(b"", I32)])

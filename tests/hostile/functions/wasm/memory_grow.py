# Tries: to grow its memory to the limit and over it, again and again. Expected: refused at memory_mb; it traps (507 oom).
from wasm import BLOCK, DROP, EMPTY, END, FOREVER, LOOP, UNREACHABLE, const, module

GROW = const(1) + b"\x40\x00"
MODULE = module(LOOP + EMPTY + GROW + const(-1) + b"\x47" + b"\x0d\x00" + END + (const(65535) + b"\x40\x00" + DROP) * 1000 + UNREACHABLE)

# Tries: to grow a table without end (table.grow). Expected: refused: 507 oom.
from wasm import DROP, EMPTY, END, FUNC, LOOP, UNREACHABLE, const, module

GROW = b"\xd0\x70" + const(10000) + b"\xfc\x0f\x00"
MODULE = module(LOOP + EMPTY + GROW + const(-1) + b"\x47" + b"\x0d\x00" + END + UNREACHABLE, tables=[FUNC + b"\x00\x01"])

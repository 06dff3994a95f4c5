# Tries: to call what is no function, or has another type: an empty element, one beyond the table. Expected: 500 trap.
from wasm import FUNC, const, module

MODULE = module(const(7) + b"\x11\x00\x00" + const(-5) + b"\x11\x00\x00", tables=[FUNC + b"\x00\x10"])

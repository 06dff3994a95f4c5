# Tries: memory.copy and memory.fill of 4 GiB from the end of its memory. Expected: 500 trap.
from wasm import const, module

MODULE = module(const(65000) + const(0) + const(-1) + b"\xfc\x0b\x00" + const(0) + const(1) + const(-1) + b"\xfc\x0a\x00\x00")

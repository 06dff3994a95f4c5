# Tries: a memory with 64-bit addresses of 2 to the 48th bytes. Expected: 422 compile.
from wasm import module, shout, u

MODULE = module(memory=b"\x04" + u(1 << 32), **shout())

# Tries: features that bring threads and 64-bit addresses: a shared memory, a memory64. Expected: 422 compile.
from wasm import module, shout

MODULE = module(memory=b"\x03\x01\x10", **shout())

# Tries: a memory of 4 GiB from the start, where memory_mb is 16. Expected: 507 oom.
from wasm import module, shout, u

MODULE = module(memory=b"\x00" + u(65536), **shout())

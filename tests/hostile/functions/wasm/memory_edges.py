# Tries: to read and write just outside of its memory: at its end, at 2 and 4 GiB, with the largest offsets.
# Expected: 500 trap (the first is enough), never a crash of the worker.
from wasm import DROP, const, module, u

MODULE = module(const(-1) + b"\x28\x00" + u(0xFFFFFFFF) + DROP + const(65533) + b"\x28\x00\x00" + DROP)

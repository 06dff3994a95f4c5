# Tries: the most locals that may be, all alive, to explode the compiler's registers. Expected: 422 (timeout, oom, compile), or it
# does nothing (200).
from wasm import I64, body, module, u

SUM = b"".join(b"\x20" + u(n) + b"\x20" + u((n * 7919) % 49000) + b"\x7c\x21" + u((n * 104729) % 49000) for n in range(40000))
MODULE = module(bodies=[(0, body(SUM, b"\x01" + u(49000) + I64))])

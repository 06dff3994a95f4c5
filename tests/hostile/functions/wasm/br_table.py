# Tries: a table of two million branches out of a thousand blocks. Expected: 422, or it does nothing (200).
from wasm import BLOCK, EMPTY, END, const, module, u

MODULE = module((BLOCK + EMPTY) * 1000 + const(5) + b"\x0e" + u(2000000) + b"".join(u(n % 1000) for n in range(2000001)) + END * 1000)

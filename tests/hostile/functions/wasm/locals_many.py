# Tries: a function with four thousand million locals. Expected: 422 compile.
from wasm import I64, body, module, u

MODULE = module(bodies=[(0, body(b"", b"\x01" + u(0xFFFFFFFF) + I64))])

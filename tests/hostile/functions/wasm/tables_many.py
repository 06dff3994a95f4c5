# Tries: a thousand tables. Expected: 422 compile.
from wasm import FUNC, module, shout

MODULE = module(tables=[FUNC + b"\x00\x01"] * 1000, **shout())

# Tries: a table of four thousand million elements. Expected: 422 compile or 507 oom.
from wasm import FUNC, module, shout, u

MODULE = module(tables=[FUNC + b"\x00" + u(0xFFFFFFFF)], **shout())

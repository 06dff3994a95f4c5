# Tries: 400,000 functions, to keep the compiler busy. Expected: 422 (timeout or oom), or it does nothing (200).
from wasm import body, const, DROP, module

MODULE = module(bodies=[(0, body(const(1) + DROP))] * 400000)

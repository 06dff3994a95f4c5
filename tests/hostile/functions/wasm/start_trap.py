# Tries: to break a worker in its start function. Expected: 500 trap.
from wasm import UNREACHABLE, body, module

MODULE = module(bodies=[(0, body(UNREACHABLE))], start=1)

# Tries: to run for ever before it is called, in its start function: at the deploy, or when a worker makes it ready.
# Expected: the deploy is answered, a call runs out of time (504 timeout).
from wasm import FOREVER, body, module

MODULE = module(bodies=[(0, body(FOREVER))], start=1)

# Tries: to write outside of its memory before it runs: data segments beyond its end. Expected: 422 compile or 500 trap.
from wasm import module, shout

parts = shout()
parts["data"] = parts["data"] + [(65536 * 2, b"x" * 64), (-16, b"y" * 64)]
MODULE = module(**parts)

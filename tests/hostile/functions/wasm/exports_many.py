# Tries: 100,000 exports with long names. Expected: 422 compile, or it does nothing (200).
from wasm import module, name, u

MODULE = module(exports=[name(f"{'x' * 40}{n}") + b"\x00" + u(0) for n in range(100000)])

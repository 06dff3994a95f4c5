# Tries: one function of 7 MiB, the kind that optimizers take longest for. Expected: 422 (timeout, oom or compile), or it does
# nothing (200).
from wasm import I32, body, module

STEP = b"\x20\x00\x20\x01\x6a\x20\x02\x6c\x22\x00\x21\x02"
MODULE = module(bodies=[(0, body(STEP * 600000, b"\x01\x03" + I32))])

# Tries: to run over the worker's stack with frames of 8 KiB each. Expected: 500 trap, and the worker lives.
from wasm import I64, body, call, module

LOCALS = b"\x01" + b"\xe8\x07" + I64
DIVE = b"".join(b"\x20" + bytes([n]) + b"\x42\x01\x7c\x21" + bytes([n]) for n in range(100)) + call(1) + b"".join(b"\x20" + bytes([n]) + b"\x42\x01\x7c\x21" + bytes([n]) for n in range(100))
MODULE = module(call(1), bodies=[(0, body(DIVE, LOCALS))])

# Tries: to overflow the compiler's stack: blocks nested 100,000 deep. Expected: 422 compile, or it does nothing (200).
from wasm import BLOCK, EMPTY, END, module

MODULE = module((BLOCK + EMPTY) * 100000 + END * 100000)

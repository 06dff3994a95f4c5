# Tries: sections whose lengths lie: longer than the module, twice, out of order, a vector of 4,000,000,000. Expected: 422 compile.
from wasm import module, section, u

MODULE = module(extra=section(1, b"\xff\xff\xff\xff\x0f") + b"\x0b" + u(0xFFFFFFFF) + b"x")

# Tries: a _start that takes what nobody gives: parameters and results. Expected: 422 compile.
from wasm import I64, body, const, function_type, module, name, section, vector, u

MODULE = (b"\0asm\1\0\0\0" + section(1, vector([function_type(I64 * 3, I64)])) + section(3, vector([u(0)])) + section(5, vector([b"\x00\x01"]))
          + section(7, vector([name("_start") + b"\x00\x00", name("memory") + b"\x02\x00"])) + section(10, vector([body(b"\x20\x00")])))  # fmt: skip

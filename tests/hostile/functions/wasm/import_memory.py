# Tries: memory, tables and globals of the worker, by import. Expected: 422 compile.
from wasm import name, section, vector

IMPORTS = [name("env") + name("memory") + b"\x02\x00\x01", name("env") + name("table") + b"\x01\x70\x00\x01",
           name("wasi_snapshot_preview1") + name("fd_write") + b"\x03\x7f\x01"]  # fmt: skip
MODULE = b"\0asm\1\0\0\0" + section(2, vector(IMPORTS))

# Tries: WASI without a memory, where the worker would look for one. Expected: 422 compile.
from wasm import I32, DROP, call, const, function_type, module

MODULE = module(const(1) + const(0) + const(1) + const(0) + call(0) + DROP, memory=None, imports=[("fd_write", 1)],
                types=[function_type(I32 * 4, I32)])  # fmt: skip

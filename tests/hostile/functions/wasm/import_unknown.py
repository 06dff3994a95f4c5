# Tries: functions that are not WASI's, and WASI's with another type. Expected: 422 compile.
from wasm import I64, function_type, module

MODULE = module(imports=[("system", 0), ("fd_write", 1)], types=[function_type(I64 * 9, I64)])

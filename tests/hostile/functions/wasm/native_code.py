# Tries: native code of the engine's own format, which would be run as it is. Expected: 422 compile.
MODULE = b"\x7fELF\x02\x01\x01\x00" + bytes(8) + b"\x01\x00\x3e\x00" + bytes(40) + b".wasmtime.engine" + bytes(4096)

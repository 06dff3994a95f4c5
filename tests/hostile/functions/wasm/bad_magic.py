# Tries: what is no module at all: native code with another's magic. Expected: 422 compile.
MODULE = b"\x7fELF" + bytes(4096)

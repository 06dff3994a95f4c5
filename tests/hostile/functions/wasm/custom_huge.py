# Tries: 12 MiB of a custom section, and names that are no text. Expected: 422 compile, or it does nothing (200).
from wasm import module, name, section

MODULE = module(extra=section(0, name(b"name") + b"\xff" * (12 << 20)))

# Tries: to make every call expensive: 100,000 data segments, and a table of 150,000 elements that is filled. Expected: 200, 422
# or 504; others are not held up.
from wasm import END, FUNC, const, module, u, vector

MODULE = module(memory=b"\x00\x20", data=[(n * 16, b"x" * 8) for n in range(99000)], tables=[FUNC + b"\x00" + u(150000)],
                elements=[b"\x00" + const(0) + END + vector([u(0)] * 150000)])  # fmt: skip

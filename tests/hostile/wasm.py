"""Just enough of a WASM assembler to write modules that no compiler would: sections are bytes, checked by nobody."""

I32, I64, FUNC, EMPTY = b"\x7f", b"\x7e", b"\x70", b"\x40"
UNREACHABLE, END, DROP, LOOP, BLOCK = b"\x00", b"\x0b", b"\x1a", b"\x03", b"\x02"
FOREVER = LOOP + EMPTY + b"\x0c\x00" + END
SHOWN = b"ESCAPED it ran\n"


def u(value):
    """An unsigned LEB128."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def s(value):
    """A signed one."""
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        if value == (-1 if low & 0x40 else 0):
            return bytes(out + bytes([low]))
        out.append(low | 0x80)


def const(value):
    return b"\x41" + s(value)


def call(index):
    return b"\x10" + u(index)


def name(text):
    return u(len(text)) + (text.encode() if isinstance(text, str) else text)


def vector(items):
    items = list(items)
    return u(len(items)) + b"".join(items)


def section(number, content):
    return bytes([number]) + u(len(content)) + content


def body(code, local=b"\x00"):
    content = local + code + END
    return u(len(content)) + content


def function_type(params=b"", results=b""):
    return b"\x60" + u(len(params)) + params + u(len(results)) + results


def module(code=b"", memory=b"\x00\x01", imports=(), types=(), tables=(), start=None, exports=(), bodies=(), data=(), extra=b"",
           elements=(), custom=b""):  # fmt: skip
    """A command: function _start runs `code`. `imports` are (name, type index) of WASI; `bodies` are further functions (type
    index, body); `memory` are the limits as they stand in the section; `extra` sections come last."""
    types = [function_type(), *types]
    count = len(imports)
    functions = [(0, body(code)), *bodies]
    out = b"\0asm\1\0\0\0" + custom + section(1, vector(types))
    if imports:
        out += section(2, vector(name("wasi_snapshot_preview1") + name(what) + b"\x00" + u(index) for what, index in imports))
    out += section(3, vector(u(index) for index, _ in functions))
    if tables:
        out += section(4, vector(tables))
    if memory is not None:
        out += section(5, vector([memory]))
    shown = [name("_start") + b"\x00" + u(count)] + ([name("memory") + b"\x02\x00"] if memory is not None else [])
    out += section(7, vector([*shown, *exports]))
    if start is not None:
        out += section(8, u(start))
    if elements:
        out += section(9, vector(elements))
    out += section(10, vector(code for _, code in functions))
    if data:
        out += section(11, vector(b"\x00" + const(at) + END + name(text) for at, text in data))
    return out + extra


def shout():
    """Parts of a module whose _start prints SHOWN: what only shows when a module ran that should not have."""
    text = bytes([8, 0, 0, 0]) + len(SHOWN).to_bytes(4, "little") + SHOWN
    write = const(1) + const(0) + const(1) + const(100) + call(0) + DROP
    return {"imports": [("fd_write", 1)], "types": [function_type(I32 * 4, I32)], "data": [(0, text)], "code": write}

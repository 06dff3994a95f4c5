"""The check of a Python source at its deploy: is its syntax right, and where is its entry? It is parsed, never run.

python3 -I -S check.py NAME.py <source

writes {"entry": "handler" | "wsgi" | "asgi" | "script"} or {"error": "NAME.py:LINE:COLUMN: …"} to descriptor 3.
"""

import ast
import json
import os
import sys
import warnings

LINE_SHOWN = 160
ASGI_MAKERS = {"fastapi", "starlette", "quart", "litestar", "blacksheep", "sanic", "aiohttp", "channels"}
ASGI_NAMES = {"FastAPI", "Starlette", "Quart", "Litestar", "Sanic", "get_asgi_application", "AsgiToWsgi", "WsgiToAsgi"}
ASGI_ARGUMENTS = 3
# Calls whose value is all that they are for.
PURE = {
    "bool", "bytes", "bytearray", "dict", "float", "frozenset", "getLogger", "int", "list", "namedtuple", "object", "range",
    "set", "str", "tuple", "NamedTuple", "NewType", "TypedDict", "TypeVar", "ContextVar", "Path", "compile",
}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class SourceError(Exception):
    pass


def describe(error, file_name):
    """A SyntaxError as compilers write it: file, line, column, message, and the line with a mark under it."""
    kind = type(error).__name__
    if not error.lineno:
        return f"{file_name}: {kind}: {error.msg}"
    column = max(error.offset or 1, 1)
    message = f"{file_name}:{error.lineno}:{column}: {kind}: {error.msg}"
    line = (error.text or "").rstrip("\n")
    if not line or len(line) > LINE_SHOWN:
        return message
    margin = "".join(mark if mark == "\t" else " " for mark in line[: column - 1])
    return f"{message}\n{line}\n{margin}^"


def parse(source, file_name):
    if b"\0" in source:
        line = source[: source.index(b"\0")].count(b"\n") + 1
        raise SourceError(f"{file_name}:{line}:1: SyntaxError: the source contains a null byte")
    try:
        tree = compile(source, file_name, "exec", flags=ast.PyCF_ONLY_AST, dont_inherit=True)
        # Some errors are found only on the way to code: a return outside of a function, a wrong nonlocal.
        compile(source, file_name, "exec", dont_inherit=True)
        return tree
    except SyntaxError as error:
        raise SourceError(describe(error, file_name)) from None
    except (RecursionError, MemoryError):
        raise SourceError(f"{file_name}: SyntaxError: the source is nested too deeply") from None
    except (ValueError, UnicodeError) as error:
        raise SourceError(f"{file_name}: SyntaxError: {error}") from None


def statements(body):
    """What runs when the module is evaluated: the bodies of if, try and with are part of the top level."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for field in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, field, ()))
            for clause in getattr(node, "handlers", ()):
                yield from statements(clause.body)


def target_names(target):
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def last_name(node):
    """`C` of C, a.b.C, C(…), C[…]; None for anything else."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def first_name(node):
    while isinstance(node, (ast.Call, ast.Subscript, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", None)


class Module:
    """What a source binds at its top level: name -> the last thing that defines it."""

    def __init__(self, tree):
        self.bound = {}
        self.packages = {}  # name -> top-level package that it was imported from
        for node in statements(tree.body):
            self.read(node)

    def read(self, node):
        if isinstance(node, (*DEFINITIONS, ast.ClassDef)):
            self.bound[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                package = node.module if isinstance(node, ast.ImportFrom) else alias.name
                name = alias.asname or alias.name.partition(".")[0]
                self.bound[name] = node
                self.packages[name] = (package or "").partition(".")[0]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self.bind(target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value:
            self.bind(node.target, node.value)

    def bind(self, target, value):
        if isinstance(target, ast.Name):
            self.bound[target.id] = value
            return
        for name in target_names(target):
            self.bound[name] = target  # one of several: something, nobody knows what

    def resolve(self, name):
        for _ in range(16):
            value = self.bound.get(name)
            if not isinstance(value, ast.Name):
                return value
            name = value.id
        return None

    def is_callable(self, name):
        literals = (ast.Constant, ast.JoinedStr, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
        value = self.resolve(name)
        return value is not None and not isinstance(value, literals)

    def app_kind(self):
        """Functions show by their signature what they are, objects by the class they are made of."""
        value = self.resolve("app")
        if isinstance(value, ast.AsyncFunctionDef):
            return "asgi"
        if isinstance(value, (ast.FunctionDef, ast.Lambda)):
            return "asgi" if self.arguments(value) == ASGI_ARGUMENTS else "wsgi"
        if isinstance(value, (ast.Import, ast.ImportFrom)):
            return "asgi" if self.packages.get("app") in ASGI_MAKERS else "wsgi"
        for name in (last_name(value), first_name(value)):
            kind = self.class_kind(name)
            if kind:
                return kind
        return "wsgi"

    def class_kind(self, name):
        if name in ASGI_NAMES or self.packages.get(name) in ASGI_MAKERS:
            return "asgi"
        made = self.resolve(name) if name else None
        if not isinstance(made, ast.ClassDef):
            return None
        for node in made.body:
            if isinstance(node, DEFINITIONS) and node.name == "__call__":
                is_async = isinstance(node, ast.AsyncFunctionDef) or self.arguments(node) == ASGI_ARGUMENTS + 1
                return "asgi" if is_async else "wsgi"
        kinds = [self.class_kind(last_name(base)) for base in made.bases if last_name(base) != name]
        return next((kind for kind in kinds if kind), None)

    @staticmethod
    def arguments(function):
        return len(function.args.posonlyargs) + len(function.args.args)


def is_pure(call):
    return last_name(call) in PURE


def acts(node):
    """Whether evaluating a statement does more than to define, import or set something."""
    if isinstance(node, (*DEFINITIONS, ast.Import, ast.ImportFrom, ast.Pass, ast.Lambda, ast.Global)):
        return False
    if isinstance(node, (ast.Raise, ast.For, ast.While, ast.Delete, ast.Assert, ast.AugAssign, ast.Await, ast.AsyncFor)):
        return True
    if isinstance(node, ast.Call) and not is_pure(node):
        return True
    return any(acts(part) for part in ast.iter_child_nodes(node))


def find_entry(source, file_name):
    tree = parse(source, file_name)
    module = Module(tree)
    if module.is_callable("handler"):
        return "handler"
    if module.is_callable("app"):
        return module.app_kind()
    if any(acts(node) for node in tree.body):
        return "script"
    raise SourceError(
        f"{file_name} has no entry: define handler(event, context) or a WSGI or ASGI app, or write a script that "
        "prints its answer"
    )


def main():
    warnings.simplefilter("ignore")
    file_name = sys.argv[1]
    try:
        report = {"entry": find_entry(sys.stdin.buffer.read(), file_name)}
    except SourceError as error:
        report = {"error": str(error)}
    except RecursionError:
        report = {"error": f"{file_name}: SyntaxError: the source is nested too deeply"}
    os.write(3, json.dumps(report).encode())


main()

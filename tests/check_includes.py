#!/usr/bin/env python3
"""Who may include whom: src/<module>/ may include what the Makefile's `uses_<module>` names, src/cmd/ everything.
Some headers from outside belong to one place each."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
USES = {m: set(names.split()) for m, names in re.findall(r"^uses_(\w+) :=(.*)$", (ROOT / "Makefile").read_text(), re.M)}
ONLY_IN = [  # header of somebody else, where it may stand
    (r"(wasm|wasi|wasmtime)\b.*", r"src/worker/wasm_(engine_internal\.h|(engine|run|compile)\.c)"),
    (r"llhttp\.h", r"src/http/.*"),
]
wrong = []
for file in sorted((ROOT / "src").glob("*/*.[ch]")):
    name, module = str(file.relative_to(ROOT)), file.parent.name
    for line, text in enumerate(file.read_text().splitlines(), 1):
        found = re.match(r'#\s*include\s+([<"])([^>"]+)[>"]', text)
        if not found:
            continue
        quote, header = found.groups()
        folder = header.partition("/")[0]
        if quote == '"' and module != "cmd" and folder != module and folder not in USES.get(module, set()):
            wrong.append(f"{name}:{line}: {module} may not include {header}")
        if quote == '"' and not (ROOT / "src" / header).exists():
            wrong.append(f"{name}:{line}: {header}: includes are by role, from src/")
        if any(re.fullmatch(what, header) and not re.fullmatch(where, name) for what, where in ONLY_IN):
            wrong.append(f"{name}:{line}: {header} may not be included here")
print("\n".join(wrong) if wrong else "includes: all go one way")
sys.exit(bool(wrong))

"""The builder by itself: what it makes of sources, good, bad and hostile, and that it leaves nothing behind."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from faas import BIN

BUILDER = BIN / "builder"
DEADLINE_S = 60
SECRET = "only-the-host-knows-this"
HELLO_C = b'#include <stdio.h>\nint main(void) { puts("hello"); }\n'
HEADER = b"\0asm\1\0\0\0"


class Build:
    """One run of the builder: its answer, and the files of its stage."""

    def __init__(self, stage, *args, source=b"", name="fn", **options):
        self.stage = pathlib.Path(stage)
        words = [BUILDER, *args, "--stage", stage]
        if "--lang" in args:
            words += ["--name", name]
        run = subprocess.run(words, input=source, capture_output=True, timeout=DEADLINE_S, check=False, **options)
        assert run.returncode == 0, run.stderr
        assert run.stdout.count(b"\n") == 1
        self.answer = json.loads(run.stdout.decode("utf-8"))
        self.error = self.answer.get("error", "")

    def files(self):
        return {path.name for path in self.stage.iterdir() if path.stat().st_size}


@pytest.fixture(scope="session")
def languages():
    return json.loads(subprocess.run([BUILDER, "--probe"], capture_output=True, timeout=DEADLINE_S, check=True).stdout)


@pytest.fixture
def build(tmp_path, languages):
    stages = iter(range(1000))

    def run(lang, source, name="fn", **options):
        if not languages[lang]:
            pytest.skip(languages["missing"][lang])
        stage = tmp_path / f"stage{next(stages)}"
        stage.mkdir()
        return Build(stage, "--lang", lang, source=source if isinstance(source, bytes) else source.encode(), name=name,
                     **options)

    return run


def children(pid):
    """Every process below pid."""
    found = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in path.read_text().split():
                found += [int(child), *children(child)]
        except OSError:
            pass
    return found


def wait_until(condition, seconds=DEADLINE_S):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def is_gone(pid):
    try:
        return "\nState:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


# ---- what it makes ----


@pytest.mark.parametrize(
    ("lang", "extension", "source"),
    [
        ("c", "c", HELLO_C),
        ("c", "c", b"#include <math.h>\n#include <stdlib.h>\nint main(void) { return (int)sqrt(atof(getenv(\"X\"))); }"),
        ("cpp", "cpp", b'#include <iostream>\n#include <map>\nint main() { std::map<int, int> m{{1, 2}}; std::cout << m[1]; }'),
        ("rust", "rs", b'fn main() { let s = std::io::read_to_string(std::io::stdin()); println!("{:?}", s.is_ok()); }'),
    ],
)
def test_a_source_becomes_wasm_and_native_code(build, lang, extension, source):
    built = build(lang, source)
    if lang == "rust" and "read_to_string" in built.error:  # older than Rust 1.65
        built = build(lang, b'fn main() { println!("x"); }')
    answer = built.answer
    assert answer["ok"], answer
    assert (answer["entry"], answer["wasm"], answer["module"]) == ("wasi", True, False)
    assert len(answer["native_hash"]) == 64 and answer["engine"].startswith("wasmtime-")
    assert built.files() == {f"code.{extension}", "code.wasm", "code.cwasm"}
    assert (built.stage / "code.wasm").read_bytes().startswith(HEADER)


def test_a_rebuild_gives_the_same_native_code(build, tmp_path):
    built = build("c", HELLO_C)
    again = tmp_path / "again"
    again.mkdir()
    rebuilt = Build(again, "--rebuild", source=(built.stage / "code.wasm").read_bytes())
    assert rebuilt.answer["native_hash"] == built.answer["native_hash"]
    assert (again / "code.cwasm").read_bytes() == (built.stage / "code.cwasm").read_bytes()


def test_a_wasm_module_is_taken_as_it_is(build):
    module = (build("c", HELLO_C).stage / "code.wasm").read_bytes()
    built = build("wasm", module)
    assert built.answer["ok"] and built.answer["entry"] == "wasi"
    assert (built.stage / "code.wasm").read_bytes() == module
    for cut in (len(module) // 2, 9):
        assert build("wasm", module[:cut]).answer["code"] == "compile"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"", "not a WebAssembly module"),
        (b"\x7fELF\2\1\1\0\0\0", "not a WebAssembly module"),
        (b"\0asm\x0d\0\1\0", "component"),
        (HEADER, "_start"),
        (HEADER + b"\xff" * 100, ""),
    ],
)
def test_what_is_no_wasm_command_is_refused(build, source, says):
    built = build("wasm", source)
    assert built.answer["code"] == "compile"
    assert built.error and says in built.error


def test_languages_that_nothing_here_builds_say_what_to_do(tmp_path):
    assert "lang=wasm" in Build(tmp_path, "--lang", "go").error
    assert Build(tmp_path, "--lang", "cobol").answer["code"] == "bad_request"
    assert Build(tmp_path, "--lang", "c", name="../x").answer["code"] == "bad_request"


def test_the_probe_names_every_language(languages):
    assert set(languages) == {"c", "cpp", "rust", "go", "wasm", "js", "python", "php", "html", "missing"}
    assert set(languages["missing"]) == {lang for lang in languages if languages[lang] is False}


# ---- messages ----


@pytest.mark.parametrize(
    ("lang", "source", "where"),
    [
        ("c", "int main(void) {\n  return x;\n}\n", "my-fn.c:2:10: error:"),
        ("cpp", "int main() {\n  return x;\n}\n", "my-fn.cpp:2:10: error:"),
        ("rust", "fn main() {\n  let x: i32 = \"a\";\n}\n", "my-fn.rs:2:16"),
        ("c", "int f(void) { return 1; }\n", "my-fn.c: error: there is no function 'main'"),
        ("c", "int g(void);\nint main(void) { return g(); }\n", "undefined symbol: g"),
        ("js", "let a = 1;\nlet b = ;\n", "my-fn.js:2:9: SyntaxError: Unexpected token ';'"),
        ("js", "import x from 'y';\nlet b = ;\n", "my-fn.js:2:9: SyntaxError: Unexpected token ';'"),
        ("js", "f(\n", "my-fn.js:"),
        ("python", "x = 1\ny = (\n", "my-fn.py:2:5: SyntaxError: '(' was never closed"),
        ("python", "return 5\n", "my-fn.py:1:1: SyntaxError: 'return' outside function"),
        ("python", "if 1:\nx\n", "my-fn.py:2:1: IndentationError"),
    ],
)
def test_messages_name_the_users_file_and_line_and_no_path_of_the_host(build, tmp_path, lang, source, where):
    built = build(lang, source, name="my-fn")
    assert built.answer["code"] == "compile"
    assert where in built.error
    for path in (str(tmp_path), str(BIN), "/root", "/home", "/tmp/"):
        assert path not in built.error


def test_messages_are_valid_json_whatever_is_in_them(build):
    for source in (b'#error "\xff\xfe\x01 \\ \t quote"\n', bytes(range(1, 256)), b"\0" * 100):
        assert build("c", source).answer["code"] in ("compile", "output")


# ---- what it must not show ----


@pytest.mark.parametrize(
    "source",
    [
        '#include "{path}"\nint main(void) {{}}\n',
        "#include <{path}>\nint main(void) {{}}\n",
        '__asm__(".incbin \\"{path}\\"");\nint main(void) {{}}\n',
        '__asm__(".include \\"{path}\\"");\nint main(void) {{}}\n',
        '#include "../../../../../../../..{path}"\nint main(void) {{}}\n',
        "#if __has_include(\"{path}\")\n#error it is there: host-\n#endif\nint main(void) {{ return missing; }}\n",
        '#embed "{path}"\nint main(void) {{ return missing; }}\n',
        '#include "/proc/self/cwd/../../../..{path}"\nint main(void) {{}}\n',
    ],
)
def test_c_cannot_read_files_of_the_host(build, tmp_path, source):
    secret = tmp_path / "code.c"
    secret.write_text(f"{SECRET}\n")
    for path in (secret, "/etc/passwd", "/proc/self/mountinfo", "/proc/self/environ", "/proc/1/environ"):
        built = build("c", source.format(path=path), env={**os.environ, "LEAK": SECRET})
        assert built.answer["code"] == "compile", built.answer
        assert SECRET not in built.error and "root:" not in built.error and "it is there" not in built.error


@pytest.mark.parametrize(
    "source",
    [
        'fn main() {{ println!("{{}}", include_str!("{path}")); }}',
        'fn main() {{ println!("{{:?}}", include_bytes!("{path}").len()); }}',
        'include!("{path}"); fn main() {{}}',
        '#[path = "{path}"] mod other; fn main() {{}}',
        'fn main() {{ println!("{{}}", env!("LEAK")); }}',
    ],
)
def test_rust_cannot_read_files_of_the_host(build, tmp_path, source):
    secret = tmp_path / "code.rs"
    secret.write_text(f'"{SECRET}"\n')
    for path in (secret, "/etc/passwd", "/proc/self/mountinfo", "/proc/self/environ"):
        built = build("rust", source.format(path=path), env={**os.environ, "LEAK": SECRET})
        assert built.answer["code"] == "compile", built.answer
        assert SECRET not in built.error and "root:" not in built.error


def test_the_hosts_headers_are_not_found(build):
    assert "file not found" in build("c", "#include <linux/fs.h>\nint main(void) {}\n").error


# ---- limits ----


def test_too_many_messages_end_the_build(build):
    line = "#warning " + "y" * 900 + "\n"
    built = build("c", line * 300 + "int main(void) {}\n")
    assert built.answer["code"] == "output"
    assert built.error.startswith("fn.c:1:2: warning") and len(built.error) < 70_000


def test_too_much_memory_ends_the_build(build):
    built = build("c", "char a[1u << 31];\nint main(void) { a[5] = 1; }\nchar *p = a;\n" + "char b[1500000000] = {1};\n")
    assert built.answer["code"] == "oom", built.answer
    assert "1024 MiB" in built.error and "Stack dump" not in built.error


def test_an_endless_build_is_ended_with_all_that_it_started(build, languages, tmp_path):
    if not languages["cpp"]:
        pytest.skip(languages["missing"]["cpp"])
    source = "\n".join(
        ["template <int N, int M> struct A { typename A<N - 1, M * 2>::t a; typename A<N - 1, M * 2 + 1>::t b; using t = int; };",
         "template <int M> struct A<0, M> { using t = int; };", "int main() { A<800, 0> x; }"]
    )
    started = time.monotonic()
    built = build("cpp", source)
    assert built.answer["code"] in ("timeout", "oom"), built.answer
    assert time.monotonic() - started < 40


SLOW_CPP = b"""template <int N, unsigned long M> struct A { typename A<N - 1, M * 2>::t a; typename A<N - 1, M * 2 + 1>::t b;
using t = int; };
template <unsigned long M> struct A<0, M> { using t = int; };
int main() { A<60, 0> x; }
"""


@pytest.fixture
def slow_build(tmp_path, languages):
    """A build that is under way: its process, and the processes below it."""
    if not languages["cpp"]:
        pytest.skip(languages["missing"]["cpp"])
    popen = subprocess.Popen([BUILDER, "--lang", "cpp", "--name", "slow", "--stage", tmp_path], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    popen.stdin.write(SLOW_CPP)
    popen.stdin.close()

    def is_compiling():
        names = [pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in children(popen.pid)]
        return any(name.startswith("clang") for name in names)

    wait_until(is_compiling)
    yield popen, children(popen.pid)
    popen.terminate()  # takes its children along
    popen.wait()
    popen.stdout.close()


def test_the_processes_of_a_build_are_called_builder(slow_build):
    popen, below = slow_build
    assert pathlib.Path(f"/proc/{popen.pid}/comm").read_text() == "builder\n"
    assert pathlib.Path(f"/proc/{below[0]}/comm").read_text() == "builder\n"


def test_a_terminated_build_takes_its_children_along(slow_build):
    popen, below = slow_build
    popen.send_signal(signal.SIGTERM)
    assert popen.wait(DEADLINE_S) != 0
    assert popen.stdout.read() == b""
    assert all(is_gone(pid) for pid in below)


def test_a_build_whose_answer_nobody_reads_ends(slow_build):
    popen, below = slow_build
    popen.stdout.close()
    popen.wait(DEADLINE_S)
    assert all(is_gone(pid) for pid in below)


def test_a_builder_that_was_killed_leaves_no_process_for_long(slow_build):
    popen, below = slow_build
    popen.kill()
    popen.wait()
    wait_until(lambda: all(is_gone(pid) for pid in below))


# ---- entries ----


@pytest.mark.parametrize(
    ("entry", "module", "source"),
    [
        ("fetch", True, "export default { fetch(request) { return new Response('x'); } }"),
        ("fetch", True, "const app = { async fetch() {} };\nexport default app;"),
        ("fetch", True, "class App { fetch() {} }\nexport default new App();"),
        ("fetch", True, "import { Hono } from 'hono';\nconst app = new Hono();\nexport default app;"),
        ("fetch", False, "module.exports = { fetch() {} };"),
        ("fetch", True, "export default { fetch() {} }\nexport function handler() {}"),
        ("handler", True, "export function handler(event) {}"),
        ("handler", True, "export const handler = async () => 1;"),
        ("handler", True, "async function main() {}\nexport { main as handler };"),
        ("handler", False, "exports.handler = async () => 1;"),
        ("handler", False, "const handler = exports.handler = () => 1;"),
        ("handler", False, "module.exports = { handler: () => 1 };"),
        ("handler", False, "module.exports.handler = function () {};"),
        ("handler", False, "function handler() {}\nif (true) { module.exports = { handler }; }"),
        ("script", False, "console.log('x');"),
        ("script", False, "#!/usr/bin/env node\nconsole.log('x');"),
        ("script", False, "\ufeffconsole.log('x');"),
        ("script", True, "const x = await 5;\nconsole.log(x);"),
        ("script", True, "import fs from 'node:fs';\nfs.writeSync(1, 'x');"),
        ("script", False, "exports.handler = 5;\nprocess.stdout.write('x');"),
        ("script", False, "(async () => { await 1; })();"),
    ],
)
def test_the_entry_of_javascript(build, entry, module, source):
    answer = build("js", source).answer
    assert answer["ok"], answer
    assert (answer["entry"], answer["module"], answer["wasm"]) == (entry, module, False)


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        ("handler", "def handler(event, context): return event"),
        ("handler", "async def handler(event, context): return event"),
        ("handler", "handler = lambda event, context: event"),
        ("handler", "try:\n    import fast\n    def handler(e, c): pass\nexcept ImportError:\n    pass"),
        ("handler", "def app(e, s): pass\ndef handler(e, c): pass"),
        ("wsgi", "def app(environ, start_response): return []"),
        ("asgi", "async def app(scope, receive, send): pass"),
        ("wsgi", "from flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef root(): return 'x'"),
        ("asgi", "from fastapi import FastAPI\napp = FastAPI()"),
        ("asgi", "import starlette.applications\napp = starlette.applications.Starlette()"),
        ("asgi", "class App:\n    async def __call__(self, scope, receive, send): pass\napp = App()"),
        ("wsgi", "class App:\n    def __call__(self, environ, start_response): pass\napp = App()"),
        ("script", "print('x')"),
        ("script", "import sys\nif __name__ == '__main__':\n    sys.stdout.write(sys.stdin.read())"),
        ("script", "\ufeffprint('x')"),
        ("script", "handler = 5\nprint(handler)"),
    ],
)
def test_the_entry_of_python(build, entry, source):
    answer = build("python", source).answer
    assert answer["ok"], answer
    assert (answer["entry"], answer["wasm"]) == (entry, False)


@pytest.mark.parametrize(
    ("lang", "source"),
    [
        ("js", ""),
        ("js", "// nothing\n'use strict';"),
        ("js", "const fs = require('fs');\nconst limit = 5;\nfunction f() { console.log(1); }\nclass K {}"),
        ("js", "import fs from 'node:fs';\nexport const limit = 5;"),
        ("python", ""),
        ("python", '"""Text."""\nimport os\nLIMIT = 5\ndef f(): print(1)\nclass K:\n    x = 1'),
    ],
)
def test_a_source_that_does_nothing_has_no_entry(build, lang, source):
    built = build(lang, source)
    assert built.answer["code"] == "compile"
    assert "has no entry: " in built.error and built.error.startswith("fn.")


def test_a_check_never_runs_the_source(build, tmp_path):
    for lang, source in (
        ("js", "process.stdout.write('ran'); process.exit(0);"),
        ("js", "}); process.exit(0); (function () {"),
        ("python", "import os\nos.write(3, b'{\"entry\": \"handler\"}')\nos._exit(0)"),
    ):
        answer = build(lang, source).answer
        assert answer.get("entry", "script") == "script"


@pytest.mark.parametrize(
    ("lang", "source"),
    [
        ("js", "(" * 1_000_000 + ")" * 1_000_000),
        ("js", "[" * 100_000 + "]" * 100_000 + ";f()"),
        ("js", b"f('\xff\xfe')"),
        ("js", b"f(\0)"),
        ("js", "f('" + "x" * 3_000_000 + "'); let a = ;"),
        ("python", "(" * 1_000_000 + ")" * 1_000_000),
        ("python", "x = " + "-" * 500_000 + "1"),
        ("python", "x" + ".a" * 200_000),
        ("python", b"print('\xff\xfe')"),
        ("python", b"print(1)\0"),
        ("python", "# -*- coding: no-such-code -*-\nprint(1)"),
        ("python", "x = '" + "y" * 3_000_000 + "'; 1 +"),
    ],
)
def test_sources_that_beat_a_parser_are_refused_clearly(build, lang, source):
    built = build(lang, source)
    assert built.answer["code"] == "compile", built.answer
    assert built.error.startswith("fn.") and len(built.error) < 1000

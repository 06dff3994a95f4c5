"""Deploying: every language, what is refused and how, duplicates, versions, removal."""

import re
import threading
import time
from pathlib import Path

import pytest

import faas

HELLO_PY = "def handler(event, context):\n    return 'hi'\n"

# What any WASI toolchain makes of `int main() {}`: exports `_start` and its memory, does nothing.
WASM_NOTHING = bytes.fromhex(
    "0061736d01000000"  # magic, version 1
    "010401600000"  # type 0: () -> ()
    "03020100"  # function 0 is of type 0
    "0503010001"  # a memory of one page
    "071302" "065f73746172740000" "066d656d6f72790200"  # exports _start, memory
    "0a040102000b"  # the body of function 0: end
)  # fmt: skip


@pytest.fixture
def readable(system):
    """The text of an answer shows no path of the host."""

    def check(answer):
        text = answer.text
        for path in (str(system.data_dir), str(system.home), str(faas.ROOT), str(faas.BIN), "/root", "/home",
                     "/usr/lib", ".stage", "/tmp/"):  # fmt: skip
            assert path not in text, f"{path} in {text}"

    return check


# --- compile errors -------------------------------------------------------------------------------------------------

BROKEN = [
    # lang, source, file name, line of the mistake, word of the compiler
    ("c", "int main(void) {\n    return x;\n}\n", "c", 2, "undeclared"),
    ("c", '#include "no_such.h"\nint main(void) { return 0; }\n', "c", 1, "not found"),
    ("cpp", "#include <string>\nint main() {\n    std::strin s;\n}\n", "cpp", 3, "strin"),
    ("rust", 'fn main() {\n    let x: u32 = "text";\n}\n', "rs", 2, "mismatched types"),
    ("python", "def handler(event, context):\n    return (1\n", "py", 2, "SyntaxError"),
    ("python", "def handler(event, context):\nreturn 1\n", "py", 2, "IndentationError"),
    ("js", "export default {\n  fetch() { return new Response( }\n};\n", "js", 2, "SyntaxError"),
    ("js", "exports.handler = async () => {\n  let a = 1;\n  let a = 2;\n};\n", "js", 3, "SyntaxError"),
]


@pytest.mark.parametrize("lang, source, extension, line, word", BROKEN)
def test_compile_error_names_file_and_line(system, readable, lang, source, extension, line, word):
    name = faas.unique_name()
    answer = system.try_deploy(source, lang, name)
    if answer.status == 501:
        pytest.skip(answer.json["error"])
    value = answer.assert_error(422, "compile", word)
    assert re.search(rf"\b{re.escape(name)}\.{extension}:{line}\b|\bcode\.{extension}:{line}\b", value["error"]), value
    readable(answer)
    system.request("GET", f"/function/{name}").assert_error(404)
    assert system.deploy(HELLO_PY, "python", name).name == name  # the name stayed free


@pytest.mark.parametrize(
    "lang, source",
    [
        ("c", ""),
        ("c", "int not_main(void) { return 0; }\n"),
        ("cpp", ""),
        ("rust", ""),
        ("rust", "fn other() {}\n"),
        ("python", ""),
        ("python", "import os\nX = 1\n"),
        ("python", "def helper():\n    return 1\n"),
        ("python", "# nothing but a comment\n"),
        ("js", ""),
        ("js", "const x = 1;\n"),
        ("js", "function helper() { return 1; }\n"),
        ("js", "// nothing but a comment\n"),
        ("js", "import fs from 'fs';\nexport const x = 1;\n"),
        ("wasm", ""),
    ],
)
def test_source_without_an_entry(system, readable, lang, source):
    answer = system.try_deploy(source, lang)
    if answer.status == 501:
        pytest.skip(answer.json["error"])
    answer.assert_error(422)
    readable(answer)


ENTRIES = [
    ("js", "export default { fetch(request) { return new Response('x'); } };", "fetch"),
    ("js", "export default { async fetch(request, env, ctx) { return new Response('x'); } };", "fetch"),
    ("js", "const worker = { fetch: () => new Response('x') };\nexport default worker;", "fetch"),
    ("js", "export function handler(event, context) { return 'x'; }", "handler"),
    ("js", "export const handler = async (event) => 'x';", "handler"),
    ("js", "exports.handler = async (event) => 'x';", "handler"),
    ("js", "module.exports = { handler(event) { return 'x'; } };", "handler"),
    ("js", "module.exports.handler = event => 'x';", "handler"),
    ("js", "console.log('x');", "script"),
    ("js", "import fs from 'fs';\nconsole.log('x');", "script"),
    ("js", "console.log(await Promise.resolve('x'));\nexport {};", "script"),
    ("python", "def handler(event, context):\n    return 'x'", "handler"),
    ("python", "handler = lambda event, context: 'x'", "handler"),
    ("python", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']", "wsgi"),
    ("python", "async def app(scope, receive, send):\n"
               "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
               "    await send({'type': 'http.response.body', 'body': b'x'})", "asgi"),
    ("python", "print('x')", "script"),
    ("python", "def main():\n    print('x')\nif __name__ == '__main__':\n    main()", "script"),
]  # fmt: skip


@pytest.mark.parametrize("lang, source, entry", ENTRIES)
def test_entry_is_found_from_the_syntax_and_works(system, lang, source, entry):
    function = system.deploy(source + "\n", lang)
    assert function.info["entry"] == entry
    assert function.invoke().output.strip().strip('"') == "x"


def test_deploy_does_not_run_the_code(system):
    source = "raise SystemExit('ran')\ndef handler(event, context):\n    return 1\n"
    assert system.try_deploy(source, "python").status == 201
    source = "process.exit(3);\nexports.handler = () => 1;\n"
    assert system.try_deploy(source, "js").status == 201


# --- WASM as it is --------------------------------------------------------------------------------------------------


def test_wasm_module_uploads_as_it_is(system):
    function = system.deploy(WASM_NOTHING, "wasm")
    assert function.info["wasm"] is True and function.info["size"] == len(WASM_NOTHING)
    assert function.invoke().output == ""
    assert function.describe()["code"].encode() == WASM_NOTHING  # these bytes happen to be UTF-8


BAD_WASM = {
    "garbage": b"this is no module",
    "header only": WASM_NOTHING[:8],
    "truncated": WASM_NOTHING[:-3],
    "elf": b"\x7fELF" + bytes(200),
    "no entry": WASM_NOTHING[:23] + bytes.fromhex("070a01066d656d6f72790200") + WASM_NOTHING[44:],
}


@pytest.mark.parametrize("module", list(BAD_WASM.values()), ids=list(BAD_WASM))
def test_bad_wasm_module(system, readable, module):
    answer = system.try_deploy(module, "wasm")
    answer.assert_error(422)
    readable(answer)


def test_wasm_module_with_flipped_bits_harms_nobody(system):
    for at in range(8, len(WASM_NOTHING), 3):
        module = bytearray(WASM_NOTHING)
        module[at] ^= 0x15
        answer = system.try_deploy(bytes(module), "wasm")
        assert answer.status in (201, 422), answer
        if answer.status == 201:
            assert faas.Function(system, answer).invoke().status in (200, 500)


# --- hostile sources ------------------------------------------------------------------------------------------------

SECRET = "s3cr3t-of-another-function"

HOSTILE = [
    ("c", '#include "/etc/passwd"\nint main(void) { return 0; }\n'),
    ("c", '#include </etc/passwd>\nint main(void) { return 0; }\n'),
    ("c", '#include "../../../../../../etc/passwd"\nint main(void) { return 0; }\n'),
    ("c", '#include "/proc/self/environ"\nint main(void) { return 0; }\n'),
    ("c", '#include "/proc/1/environ"\nint main(void) { return 0; }\n'),
    ("c", '__asm__(".incbin \\"/etc/passwd\\"");\nint main(void) { return 0; }\n'),
    ("c", "#include <sys/epoll.h>\nint main(void) { return 0; }\n"),
    ("cpp", '#include "/etc/passwd"\nint main() {}\n'),
    ("rust", 'fn main() { print!("{}", include_str!("/etc/passwd")); }\n'),
    ("rust", 'const X: &[u8] = include_bytes!("/etc/passwd");\nfn main() { println!("{:?}", X); }\n'),
    ("rust", 'include!("/etc/passwd");\nfn main() {}\n'),
    ("rust", '#[path = "/etc/passwd"] mod x;\nfn main() {}\n'),
    ("rust", 'fn main() { print!("{}", env!("FAAS_DATA_DIR")); }\n'),
    ("rust", 'fn main() { print!("{}", env!("SHELL")); }\n'),
]


@pytest.mark.parametrize("lang, source", HOSTILE)
def test_hostile_source_shows_nothing(system, lang, source):
    answer = system.try_deploy(source, lang)
    if answer.status == 501:
        pytest.skip(answer.json["error"])
    answer.assert_error(422, "compile")
    assert "root:" not in answer.text and "/bin/bash" not in answer.text and "daemon" not in answer.text
    assert "PATH=" not in answer.text and str(system.home) not in answer.text


@pytest.mark.parametrize("lang, template", [
    ("c", '#include "%s"\nint main(void) {{ return 0; }}\n'),
    ("rust", 'fn main() {{ print!("{{}}", include_str!("%s")); }}\n'),
])  # fmt: skip
def test_source_cannot_include_the_code_of_another_function(system, lang, template):
    victim = system.deploy(f"# {SECRET}\n{HELLO_PY}", "python")
    code = next(system.data_dir.glob(f"{victim.id}/code.py"))
    source = template.replace("{{", "{").replace("}}", "}") % code
    answer = system.try_deploy(source, lang)
    if answer.status == 501:
        pytest.skip(answer.json["error"])
    answer.assert_error(422, "compile")
    assert SECRET not in answer.text


@pytest.mark.slow
def test_compiler_that_would_run_for_ever_is_stopped(system):
    """Template recursion that doubles: gigabytes and hours for a compiler. Calls go on meanwhile."""
    hello = system.shared(Path("c/hello.c"), "c")
    source = (
        "typedef unsigned long number;\ntemplate <int D, number I> struct s\n"
        "{ static const number v = s<D - 1, 2 * I>::v + s<D - 1, 2 * I + 1>::v; };\n"
        "template <number I> struct s<0, I> { static const number v = I; };\n"
        "int main() { return s<26, 0>::v != 0; }\n"
    )
    answers = []
    thread = threading.Thread(target=lambda: answers.append(system.try_deploy(source, "cpp")))
    thread.start()
    while thread.is_alive():
        assert hello.invoke(timeout_s=10).output == "Hello from FAAS!\n"
        thread.join(0.2)
    if answers[0].status == 501:
        pytest.skip(answers[0].json["error"])
    answers[0].assert_error(422, ("timeout", "oom"))
    faas.wait_until(lambda: not system.procs("builder"), 5, "builder gone")


def test_compiler_messages_are_bounded(system):
    source = "\n".join(f'#warning "{"w" * 200} {i}"' for i in range(5000)) + "\nint main(void) { return x; }\n"
    answer = system.try_deploy(source, "c")
    answer.assert_error(422, ("output", "compile"))
    assert len(answer.body) < 300_000


# --- duplicates, versions, removal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path, lang", [("python/hello.py", "python"), ("c/hello.c", "c")])
def test_fifty_concurrent_deploys_of_a_name_make_one_function(system, path, lang):
    name, source = faas.unique_name(), (faas.EXAMPLES / path).read_bytes()
    answers = faas.parallel(50, lambda i: system.try_deploy(source, lang, name))
    winners = [answer for answer in answers if answer.status == 201]
    assert len(winners) == 1
    for answer in answers:
        if answer is not winners[0]:
            answer.assert_error(409, "conflict", name)
    function = faas.Function(system, winners[0])
    assert function.invoke().status == 200
    assert function.describe()["version"] == 1


def test_taken_name_is_exactly_the_contract(system):
    function = system.deploy(HELLO_PY, "python")
    answer = system.try_deploy(HELLO_PY, "python", function.name)
    assert answer.status == 409
    assert answer.json == {"ok": False, "error": f"function '{function.name}' already exists", "cause": "conflict"}


def test_taken_name_is_refused_before_anything_is_built(system):
    function = system.deploy(HELLO_PY, "python")
    system.try_deploy("no C at all", "c", function.name).assert_error(409, "conflict")


def test_put_makes_the_function_and_then_its_versions(system):
    name = faas.unique_name()
    ids = []
    for number in (1, 2, 3):
        answer = system.try_deploy(f"def handler(e, c):\n    return {number}\n", "python", name, "PUT")
        assert answer.status == (201 if number == 1 else answer.status) and answer.status in (200, 201), answer
        assert answer.json["ok"] is True and answer.json["version"] == number
        ids.append(answer.json["id"])
        called = system.request("POST", f"/invoke?fn={name}")
        assert called.output == str(number) and called.header("X-Function-Version") == str(number)
    assert len(set(ids)) == 3
    assert system.request("POST", f"/invoke?fn={ids[0]}").output == "1"  # an id is that very version
    assert system.request("GET", f"/function/{name}").json["id"] == ids[2]


def test_put_may_change_the_language(system):
    function = system.deploy(HELLO_PY, "python")
    assert system.try_deploy("int main(void) { return 0; }\n", "c", function.name, "PUT").status in (200, 201)
    assert function.invoke().output == ""
    assert function.describe()["lang"] == "c"


def test_put_that_does_not_compile_changes_nothing(system):
    function = system.deploy(HELLO_PY, "python")
    system.try_deploy("def handler(:", "python", function.name, "PUT").assert_error(422, "compile")
    assert function.invoke().output == '"hi"' and function.describe()["version"] == 1


def test_every_call_runs_wholly_on_one_version(system):
    def source(number):
        return f"VERSION = {number}\ndef handler(event, context):\n    return [VERSION, {number}]\n"

    function = system.deploy(source(1), "python")
    stop, seen, wrong = threading.Event(), set(), []

    def call():
        while not stop.is_set():
            answer = function.invoke()
            number = answer.header("X-Function-Version")
            seen.add(number)
            if answer.status != 200 or answer.json["output"].replace(" ", "") != f"[{number},{number}]":
                wrong.append(answer)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 8):
        answer = system.try_deploy(source(number), "python", function.name, "PUT")
        assert answer.status in (200, 201)
        after = function.invoke()
        assert after.header("X-Function-Version") == str(number), "a call after the switch ran on an old version"
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(seen) > 1


@pytest.mark.parametrize("what", ["delete", "put"])
def test_calls_in_flight_finish(system, what):
    source = "import time\ndef handler(event, context):\n    time.sleep(0.7)\n    return 'finished'\n"
    function = system.deploy(source, "python")
    function.invoke()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(function.invoke())) for _ in range(3)]
    for thread in threads:
        thread.start()
    faas.wait_until(lambda: len(system.pids("worker-python")) >= 1, 5, "running")
    time.sleep(0.2)  # not waited for, but given: the calls are on their way
    if what == "delete":
        assert function.delete().status == 204
    else:
        assert system.try_deploy(HELLO_PY, "python", function.name, "PUT").status in (200, 201)
    for thread in threads:
        thread.join()
    assert [a.output for a in answers] == ['"finished"'] * 3


def test_deploys_at_the_same_time_all_succeed(system):
    functions = faas.parallel(12, lambda i: system.deploy(f"print({i})\n", "python"))
    assert [f.invoke().output for f in functions] == [f"{i}\n" for i in range(12)]


def test_calls_are_served_during_a_compile(system):
    hello = system.shared(Path("c/hello.c"), "c")
    source = "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <vector>\n" \
             "int main() { std::map<int, std::string> m; std::cout << m[1]; }\n"  # fmt: skip
    results = []
    thread = threading.Thread(target=lambda: results.append(system.try_deploy(source, "cpp")))
    thread.start()
    slowest, calls = 0.0, 0
    while thread.is_alive():
        start = time.monotonic()
        assert hello.invoke().status == 200
        slowest, calls = max(slowest, time.monotonic() - start), calls + 1
    assert results[0].status in (201, 501), results[0]
    assert calls > 0 and slowest < 2, (calls, slowest)

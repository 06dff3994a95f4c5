"""runtimes/node: a real Node.js, spoken to as the gateway does."""

import base64
import json
import os
import re
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from runtime_harness import (
    CODES,
    COLD,
    LAST,
    NODE,
    ROOT,
    RUNTIMES,
    UNLOAD,
    Process,
    check_finished_answers_do_not_wait,
    check_withdrawn_calls_are_skipped,
    http_head,
    make_frame,
    run_script,
)

pytestmark = pytest.mark.skipif(NODE is None, reason="no node on this machine")
BOOT = str(RUNTIMES / "node/boot.cjs")


@pytest.fixture
def start():
    """Starts processes that end with the test."""
    processes = []

    def make(flags=()):
        process = Process([NODE, *flags, BOOT])
        processes.append(process)
        return process

    yield make
    for process in processes:
        process.close()


@pytest.fixture
def load(start):
    def make(source, entry="handler", flags=(), **kw):
        source = textwrap.dedent(source)
        kw.setdefault("module", re.search(r"^(import|export|await)\b", source, re.M) is not None)
        return start(flags).load(source, entry, **kw)

    return make


@pytest.fixture
def script(start):
    """Runs a plain script. Returns the exit code, stdout and stderr."""

    def make(source, payload=b"", **kw):
        process = start()
        source = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
        kw.setdefault("module", re.search(rb"^(import|export|await)\b", source, re.M) is not None)
        code = run_script(process, source, payload, **kw)
        return code, process.out, process.err

    return make


def test_codes_and_frame_numbers_are_those_of_the_headers():
    source = (RUNTIMES / "node/frames.cjs").read_text()
    found = re.findall(r"^  (ERR_\w+): (\d+),$", source, re.M)
    assert len(found) == 7
    for name, number in found:
        assert CODES[name] == int(number)
    header = (ROOT / "src/wire/frame.h").read_text()
    for name, number in re.findall(r"X\((\w+), (\d), ", header):
        assert f"const {name} = {number};" in source


# Life


def test_the_process_is_a_spare_until_its_load(start):
    process = start()
    process.pump(lambda: process.comm() == "spare-node")
    process.load("exports.handler = () => 1", "handler")
    assert process.comm() == "worker-node"


def test_end_of_input_ends_a_spare_and_a_worker(start, load):
    assert start().end() == 0
    process = load("exports.handler = () => { setInterval(() => {}, 1000); return 1 }")
    assert process.invoke().json() == 1
    assert process.end() == 0
    assert process.err == ""


def test_unload_ends_the_process(load):
    process = load("process.on('exit', () => console.log('bye')); exports.handler = () => 1")
    process.send(make_frame(UNLOAD))
    assert process.wait() == 0
    assert process.out == b"bye\n"


@pytest.mark.parametrize(
    "frame",
    [
        make_frame(9),
        make_frame(1, format_=2),
        make_frame(3, call_id=1),
        make_frame(1),
        make_frame(1, b"FAAS_FUNCTION=f\0FAAS_VERSION=1\0entry=wsgi\0"),
        make_frame(1, b"FAAS_FUNCTION=f\0FAAS_VERSION=1\0entry=handler\0limit.output_mb=x\0"),
        b"\xff" * 32,
        b"\x01\0\0\0\x01\x01" + b"\0" * 14 + b"\x02\0\0\0" + b"\0" * 8,
        b"half a header",
    ],
)
def test_what_is_no_frame_ends_the_process_with_a_message(start, frame):
    process = start()
    process.send(frame)
    os.close(process.calls)
    process.calls = -1
    assert process.wait() == 70
    assert re.fullmatch(r"faas: .*\n", process.err)


def test_a_call_with_id_0_or_a_second_load_ends_a_worker(load):
    process = load("exports.handler = () => 1")
    process.send(process.call_frame(call_id=0))
    assert process.wait() == 70
    process = load("exports.handler = () => 1")
    process.send(process.load_frame("", "handler"))
    assert process.wait() == 70


@pytest.mark.parametrize("prefix", ["", "async "])
def test_calls_in_one_write_are_answered_in_order(load, prefix):
    process = load(f"exports.handler = {prefix}(event) => event")
    process.send(b"".join(process.call_frame(b"%d" % i, call_id=i + 1, slot=i) for i in range(3000)))
    for i in range(3000):
        answer = process.answer()
        assert (answer.call_id, answer.slot, answer.json()) == (i + 1, i, i)


SLOW = """
let ran = 0;
exports.handler = (event) => {
  ran++;
  if (event === 'slow') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  return ran;
};
"""


def test_finished_answers_do_not_wait_for_the_call_behind_them(load):
    process = load(SLOW)
    check_finished_answers_do_not_wait(process)


def test_withdrawn_calls_are_skipped(load):
    process = load(SLOW)
    check_withdrawn_calls_are_skipped(process)
    assert process.invoke().json() == 5  # the withdrawn one has not run


def test_a_frame_may_come_in_pieces(load):
    process = load("exports.handler = async (event) => event")
    frame = process.call_frame(b'{"a":1}', call_id=(1 << 61) + 5)
    for byte in frame:
        process.send(bytes([byte]))
    answer = process.answer()
    assert answer.call_id == (1 << 61) + 5
    assert answer.json() == {"a": 1}
    assert process.started() == (1 << 61) + 5


@pytest.mark.parametrize("size", [21000, 65400, 65504, 65536, 1 << 20, 9 << 20])
def test_a_large_payload_and_answer_arrive_whole(load, size):
    process = load("exports.handler = (event) => event + '!'")
    payload = ("0123456789" * (size // 10 + 1))[:size]
    assert process.invoke(payload).json() == payload + "!"
    payload = "é€" * (size // 5)
    assert process.invoke(payload).json() == payload + "!"
    assert process.invoke("next").json() == "next!"


def test_the_call_is_claimed_in_the_page_before_it_starts(load):
    process = load("exports.handler = () => { for (;;); }")
    process.send(process.call_frame(call_id=4711))
    process.pump(lambda: process.started() == 4711)


def test_the_first_answer_is_cold_and_times_are_measured(load):
    process = load("exports.handler = () => new Promise((done) => setTimeout(done, 50))")
    first, second = process.invoke(), process.invoke()
    assert (first.flags & COLD, second.flags & COLD) == (COLD, 0)
    assert first.run_ns >= 49_000_000
    assert 0 < first.start_ns < 10_000_000_000


# Handlers


@pytest.mark.parametrize(
    "payload, event",
    [
        (b'{"a":[1,null,true,"x"]}', {"a": [1, None, True, "x"]}),
        (b'"text"', "text"),
        (b"17", 17),
        (b"null", None),
        (b"", None),
        (b"plain text", "plain text"),
        (b"{broken", "{broken"),
        (b"NaN", "NaN"),
        ("é€😀".encode(), "é€😀"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\xef\xbb\xbf1", "\ufeff1"),
        (b'{"__proto__":1}', {"__proto__": 1}),
    ],
)
def test_the_event_is_the_json_payload_else_a_string(load, payload, event):
    answer = load("exports.handler = (event) => [event]").invoke(payload)
    assert answer.json() == [event]
    assert answer.value("json") == "1"


@pytest.mark.parametrize(
    "expression, output",
    [
        ("'hello'", b'"hello"'),
        ("undefined", b"null"),
        ("null", b"null"),
        ("() => 1", b"null"),
        ("Symbol('x')", b"null"),
        ("NaN", b"null"),
        ("({a: 1, b: [true, undefined], c: undefined})", b'{"a":1,"b":[true,null]}'),
        ("'é\\0\\n\"'", '"é\\u0000\\n\\""'.encode()),
        ("'\\ud800'", b'"\\ud800"'),
        ("Buffer.from('A')", b'{"type":"Buffer","data":[65]}'),
        ("new Date(0)", b'"1970-01-01T00:00:00.000Z"'),
        ("new Map([[1, 2]])", b"{}"),
    ],
)
def test_the_value_goes_out_as_json(load, expression, output):
    answer = load(f"exports.handler = () => {expression}").invoke()
    assert answer.code == "ERR_OK"
    assert answer.output == output


@pytest.mark.parametrize(
    "expression, message",
    [
        ("10n", "Do not know how to serialize a BigInt"),
        ("globalThis", "Converting circular structure to JSON"),
    ],
)
def test_a_value_that_json_cannot_express_is_an_exception(load, expression, message):
    process = load(f"exports.handler = async () => {expression}")
    answer = process.invoke()
    assert answer.code == "ERR_EXCEPTION"
    assert answer.error.startswith("TypeError: the handler's value cannot be sent as JSON: " + message)
    assert process.invoke().code == "ERR_EXCEPTION"


def test_the_context_is_lambdas(load):
    process = load(
        """
        exports.handler = async (event, context) => {
          const first = context.getRemainingTimeInMillis();
          await new Promise((done) => setTimeout(done, 20));
          const env = {};
          for (const [k, v] of Object.entries(process.env)) if (k.startsWith('FAAS_') || k === 'GREETING') env[k] = v;
          return {
            left: [first, context.getRemainingTimeInMillis()],
            names: [context.functionName, context.functionVersion, context.awsRequestId, context.memoryLimitInMB],
            arn: context.invokedFunctionArn,
            waits: context.callbackWaitsForEmptyEventLoop,
            env,
            now: Date.now(),
          };
        };
        """,
        limits={"timeout_ms": 3000, "memory_mb": 64},
        env={"GREETING": "grüß = dich", "FAAS_VERSION": "99"},
    )
    got = process.invoke().json()
    assert 2000 < got["left"][0] <= 3000
    assert got["left"][1] <= got["left"][0] - 18
    assert got["names"] == ["hello", "3", "call-2", "64"]
    assert got["arn"].endswith(":function:hello")
    assert got["waits"] is True
    assert got["env"]["GREETING"] == "grüß = dich"
    assert (got["env"]["FAAS_FUNCTION"], got["env"]["FAAS_VERSION"]) == ("hello", "3")
    assert got["env"]["FAAS_CALL_ID"] == "call-2"
    assert 0 < int(got["env"]["FAAS_DEADLINE_MS"]) - got["now"] <= 3000
    assert process.invoke().json()["env"]["FAAS_CALL_ID"] == "call-3"


@pytest.mark.parametrize(
    "source",
    [
        "exports.handler = (event, context) => event + 1",
        "exports.handler = async (event, context) => event + 1",
        "exports.handler = (event, context, callback) => callback(null, event + 1)",
        "exports.handler = (event, context, callback) => setTimeout(() => callback(null, event + 1), 5)",
        "exports.handler = (event, context, callback) => { callback(undefined, event + 1); callback(null, 'again') }",
        "exports.handler = async (event, context, callback) => event + 1",
        "exports.handler = (event, context) => context.succeed(event + 1)",
        "exports.handler = (event, context) => context.done(null, event + 1)",
        "exports.handler = (event) => ({ then(done) { done(event + 1) } })",
        "exports.handler = (event) => new Promise((done) => setImmediate(done, event + 1))",
        "exports.handler = (event) => new Promise((done) => process.nextTick(done, event + 1))",
        "exports.handler = (event) => new Promise((done) => queueMicrotask(() => done(event + 1)))",
        "exports.handler = (event) => require('fs').promises.readFile('/dev/null').then(() => event + 1)",
        "module.exports = { handler: (event) => event + 1 }",
        "export function handler(event) { return event + 1 }",
        "export const handler = async (event) => event + 1",
        "export default { handler: (event) => event + 1 }",
        "import { promises } from 'node:fs'; export const handler = async (event) => event + (promises ? 1 : 0)",
        "const one = await Promise.resolve(1); export const handler = (event) => event + one",
        "#!/usr/bin/env node\nexports.handler = (event) => event + 1 // no line end",
        "\ufeffexports.handler = (event) => event + 1",
    ],
)
def test_every_style_of_handler(load, source):
    process = load(source, module="export " in source)
    for event in (1, 2, 3):
        assert process.invoke(event).json() == event + 1


@pytest.mark.parametrize(
    "source",
    [
        "exports.handler = (event, context, callback) => callback(new TypeError('no'))",
        "exports.handler = (event, context, callback) => { setTimeout(callback, 1, new TypeError('no')) }",
        "exports.handler = (event, context) => context.fail(new TypeError('no'))",
        "exports.handler = () => { throw new TypeError('no') }",
        "exports.handler = async () => { throw new TypeError('no') }",
        "exports.handler = () => Promise.reject(new TypeError('no'))",
        "exports.handler = async () => { await null; throw new TypeError('no') }",
        "exports.handler = async () => { await new Promise(setImmediate); throw new TypeError('no') }",
        "exports.handler = () => ({ get then() { throw new TypeError('no') } })",
        "exports.handler = () => ({ toJSON() { throw new RangeError('no') } })",
    ],
)
def test_every_style_of_failure(load, source):
    process = load(source)
    for _ in range(3):
        answer = process.invoke()
        assert answer.code == "ERR_EXCEPTION"
        assert answer.error in ("TypeError: no", "RangeError: no")
        assert answer.flags & LAST == 0


def test_state_stays_between_calls_of_one_process(load):
    process = load("let n = 0; exports.handler = () => ++n")
    assert [process.invoke().json() for _ in range(3)] == [1, 2, 3]


def test_console_is_the_log_and_there_before_the_answer(load):
    process = load(
        """
        console.log('at load');
        exports.handler = (event) => {
          console.log('out', event);
          console.error('err');
          process.stdout.write(new Uint8Array([65, 10]));
          return 1;
        };
        """
    )
    assert process.out == b"at load\n" or process.pump(lambda: process.out == b"at load\n") is None
    answer = process.invoke(5)
    assert answer.output == b"1"
    process.pump(lambda: process.out == b"at load\nout 5\nA\n" and process.err == "err\n")


def test_a_log_larger_than_a_pipe_is_whole(load):
    process = load("exports.handler = () => { console.log('x'.repeat(3 << 20)); return 1 }")
    process.send(process.call_frame())
    process.pump(lambda: len(process.out) == (3 << 20) + 1)
    assert process.answer().json() == 1


def test_a_handler_that_breaks_builtins_is_still_served(load):
    process = load(
        """
        exports.handler = async (event) => {
          if (event === 'patch') {
            const fs = require('fs');
            fs.readSync = fs.writeSync = JSON.stringify = JSON.parse = Date.now = Buffer.from = null;
            process.hrtime = process.env = globalThis.setImmediate = process.nextTick = null;
            globalThis.Buffer = globalThis.process = undefined;
            Array.isArray = Atomics.wait = null;
          }
          return event;
        };
        """
    )
    for event in ("first", "patch", "second", "third"):
        assert process.invoke(event).json() == event


def test_stdin_of_a_handler_is_empty(load):
    source = "exports.handler = () => require('fs').readFileSync(0, 'utf8')"
    assert load(source).invoke().json() == ""


def test_the_platform_is_out_of_sight(load):
    source = """
        exports.handler = () => [
          require.main === module, Object.keys(require.cache), process.argv.slice(1),
          __filename, __dirname, new Error('x').stack.includes('runtimes'),
        ];
    """
    assert load(source).invoke().json() == [False, [], ["hello.js"], "/tmp/hello.js", "/tmp", False]


def test_an_es_module_leaves_no_file_and_can_make_a_require(load):
    source = """
        import { createRequire } from 'node:module';
        const require = createRequire(import.meta.url);
        export const handler = () => [typeof require('fs').readSync, require('fs').existsSync(new URL(import.meta.url))];
    """
    assert load(source).invoke().json() == ["function", False]


def test_an_es_module_loads_without_room_in_tmp(start):
    source = "import fs from 'fs';\nexport const handler = () => { throw new Error(typeof fs.readSync) }"
    process = start()
    taken = Path(f"/tmp/{process.pid}")  # where it would make its folder
    taken.write_text("taken")
    try:
        answer = process.load(source, "handler", module=True).invoke()
    finally:
        taken.unlink(missing_ok=True)
    assert answer.error == "Error: function"
    assert "hello.js:2:" in answer.log
    assert "base64" not in answer.log


# Failures


def failing(body):
    return "exports.handler = (event) => {\n" + textwrap.dedent(body) + "\n}"


@pytest.mark.parametrize("module", [False, True])
def test_an_exception_names_the_users_file_and_nothing_of_the_platform(load, module):
    source = """
        class Oops extends Error {}
        function inner() {
          throw new Oops('bad\\0 thing', { cause: new Error('deep') });
        }
        %s = async (event) => {
          inner();
        };
    """ % ("export const handler" if module else "exports.handler")
    process = load(source)
    answer = process.invoke()
    assert (answer.code, answer.error, answer.output) == ("ERR_EXCEPTION", "Error: bad\\x00 thing", b"")
    assert re.search(r"at inner \(hello\.js:4:\d+\)", answer.log)
    assert re.search(r"hello\.js:7:\d+", answer.log)
    assert "[cause]: Error: deep" in answer.log
    assert "faas" not in answer.log and "runtimes" not in answer.log and "/tmp" not in answer.log
    assert process.invoke().code == "ERR_EXCEPTION"


@pytest.mark.parametrize(
    "body, code, error",
    [
        ("null.x", "ERR_EXCEPTION", "TypeError: Cannot read properties of null (reading 'x')"),
        ("throw 'text'", "ERR_EXCEPTION", "Uncaught 'text'"),
        ("throw undefined", "ERR_EXCEPTION", "Uncaught undefined"),
        ("throw { a: 1 }", "ERR_EXCEPTION", "Uncaught { a: 1 }"),
        ("throw Object.create(null)", "ERR_EXCEPTION", "Uncaught [Object: null prototype] {}"),
        ("throw new Error('')", "ERR_EXCEPTION", "Error"),
        ("throw Object.assign(new Error('m'), { name: 'Mine' })", "ERR_EXCEPTION", "Mine: m"),
        ("return exports.handler(event)", "ERR_EXCEPTION", "RangeError: Maximum call stack size exceeded"),
        ("return new Array(-1)", "ERR_EXCEPTION", "RangeError: Invalid array length"),
        ("return 'x'.repeat(2 ** 30)", "ERR_EXCEPTION", "RangeError: Invalid string length"),
        ("return new ArrayBuffer(2 ** 52)", "ERR_OOM", "RangeError: Array buffer allocation failed"),
        ("return new Uint8Array(2 ** 50)", "ERR_OOM", "RangeError: "),
        ("return new Uint8Array(-1)", "ERR_EXCEPTION", "RangeError: Invalid typed array length: -1"),
        ("throw Object.assign(new Error('e'), { code: 'EAGAIN', syscall: 'read' })", "ERR_EXCEPTION", "Error: e"),
        ("throw { get name() { throw 1 }, get message() { throw 2 } }", "ERR_EXCEPTION", "Uncaught "),
        ("const e = new Error('x'); Object.defineProperty(e, 'message', { get() { throw 3 } }); throw e", "ERR_EXCEPTION", "Uncaught exception"),
        ("throw new Error('x\\0y\\ud800')", "ERR_EXCEPTION", "Error: x\\x00y\ufffd"),
    ],
)
def test_exceptions_become_codes(load, body, code, error):
    process = load(failing(body))
    for _ in range(2):
        answer = process.invoke()
        assert (answer.code, answer.error[: len(error)]) == (code, error)


def test_a_huge_message_is_cut(load):
    answer = load(failing("throw new Error('x'.repeat(1 << 20))")).invoke()
    assert len(answer.error) == 4096
    assert len(answer.log) == 256 << 10


@pytest.mark.parametrize(
    "source",
    [
        "exports.handler = (event) => event || new Promise(() => {})",
        "exports.handler = async (event) => event || (await new Promise(() => {}))",
        "exports.handler = (event, context, callback) => { if (event) callback(null, event) }",
        "exports.handler = (event) => event || new Promise(() => setTimeout(() => {}, 5))",
    ],
)
def test_a_promise_that_can_never_settle_is_an_exception(load, source):
    process = load(source)
    answer = process.invoke(b"")
    assert (answer.code, answer.error) == ("ERR_EXCEPTION", "Error: the handler's promise never settled")
    assert answer.flags & LAST == 0
    assert process.invoke("second").json() == "second"


@pytest.mark.parametrize("style", ["", "async "])
def test_an_unhandled_rejection_fails_the_call_it_happened_in(load, style):
    process = load(
        f"exports.handler = {style}(event) => {{ if (event) Promise.reject(new TypeError('stray')); return 'fine' }}"
    )
    for _ in range(3):
        answer = process.invoke(1)
        assert (answer.code, answer.error) == ("ERR_EXCEPTION", "TypeError: stray")
        assert answer.flags & LAST == 0  # the handler is through: nothing of it is left
        assert process.invoke(0).json() == "fine"


@pytest.mark.parametrize(
    "stray, is_last",
    [
        ("setTimeout(() => { throw new TypeError('stray') }); await new Promise((done) => setTimeout(done, 1000))", True),
        ("Promise.reject(new TypeError('stray')); await new Promise((done) => setTimeout(done, 1000))", True),
        ("queueMicrotask(() => { throw new TypeError('stray') })", False),
        ("process.nextTick(() => { throw new TypeError('stray') })", False),
        ("new (require('events'))().emit('error', new TypeError('stray'))", False),
    ],
)
def test_an_uncaught_exception_fails_the_call(load, stray, is_last):
    process = load(f"exports.handler = async (event) => {{ if (event) {{ {stray} }}; return 'fine' }}")
    answer = process.invoke(1)
    assert (answer.code, answer.error) == ("ERR_EXCEPTION", "TypeError: stray")
    assert bool(answer.flags & LAST) == is_last
    if is_last:
        assert process.wait() == 0
    else:
        assert process.invoke(0).json() == "fine"
        assert process.invoke(1).error == "TypeError: stray"
        assert process.invoke(0).json() == "fine"


def test_the_users_own_listeners_for_strays_are_heeded(load):
    process = load(
        """
        process.on('unhandledRejection', (error) => console.log('rejection', error));
        process.on('uncaughtException', (error) => console.log('exception', error));
        exports.handler = async () => {
          Promise.reject(1);
          process.nextTick(() => { throw 2 });
          return 'fine';
        };
        """
    )
    for i in range(1, 4):
        assert process.invoke().json() == "fine"
        process.pump(lambda: process.out.count(b"rejection 1\n") == process.out.count(b"exception 2\n") == i)


def test_work_left_over_does_not_run_between_calls(load):
    process = load(
        """
        let ticks = 0;
        exports.handler = (event) => {
          if (event === 'leave') setInterval(() => { ticks++; }, 1);
          if (event === 'wait') return new Promise((done) => setTimeout(() => done(ticks), 50));
          const before = ticks;
          ticks = 0;
          return before;
        };
        """
    )
    process.invoke("leave")
    assert [process.invoke("count").json() for _ in range(50)] == [0] * 50
    assert process.invoke("wait").json() > 0


@pytest.mark.parametrize(
    "body, exit_code",
    [("process.exit(3)", 3), ("process.exit()", 0), ("process.exitCode = 4; process.exit()", 4), ("process.exit(0)", 0)],
)
@pytest.mark.parametrize("style", ["%s", "return new Promise(() => setTimeout(() => { %s }, 1))"])
def test_process_exit_is_answered_and_the_last(load, body, exit_code, style):
    process = load("process.on('exit', () => console.log('x'.repeat(1 << 17)));" + failing(style % body))
    answer = process.invoke()
    assert (answer.code, answer.exit_code) == ("ERR_EXIT", exit_code)
    assert answer.error == f"the function exited with code {exit_code}"
    assert answer.flags & LAST
    assert process.wait() == exit_code
    assert len(process.out) == (1 << 17) + 1


def test_a_signal_or_abort_ends_the_process_without_an_answer(load):
    for body, code in (("process.kill(process.pid, 'SIGKILL')", -9), ("process.abort()", -signal.SIGABRT)):
        process = load(failing("console.log('before'); " + body))
        process.send(process.call_frame())
        assert process.wait() == code
        assert process.out == b"before\n"
        assert process.started() == process.next_id


def test_a_fork_that_fails_is_processes(load):
    process = load(
        """
        const { spawn, execSync } = require('child_process');
        exports.handler = async (event) => {
          if (process.getuid() === 0) process.setuid(65532);
          if (event === 'sync') execSync('true');
          if (event === 'child') { spawn('/bin/true'); await new Promise((done) => setTimeout(done, 1000)); }
          return 'none';
        };
        """
    )
    subprocess.run(["prlimit", f"--pid={process.pid}", "--nproc=0:0"], check=True)
    assert process.invoke("none").json() == "none"
    for event in ("sync", "child"):
        answer = process.invoke(event)
        assert answer.code == "ERR_PROCESSES"
        assert "EAGAIN" in answer.error


def test_output_over_its_limit_is_an_error_of_its_own(load):
    process = load("exports.handler = (event) => 'é'.repeat(event)", limits={"output_mb": 1})
    assert process.invoke((1 << 19) - 1).code == "ERR_OK"
    answer = process.invoke(1 << 19)
    assert (answer.code, answer.error) == ("ERR_OUTPUT", "the output is over the limit of 1 MiB")
    assert process.invoke(1).json() == "é"


@pytest.mark.parametrize(
    "source, code, error",
    [
        ("null.x; exports.handler = 1", "ERR_EXCEPTION", "TypeError: Cannot read properties of null"),
        ("export const x = null.x", "ERR_EXCEPTION", "TypeError: Cannot read properties of null"),
        ("exports.handler = (", "ERR_EXCEPTION", "SyntaxError: Unexpected "),
        ("export const handler = (", "ERR_EXCEPTION", "SyntaxError: Unexpected "),
        ("import 'nothing-like-it'; export const handler = 1", "ERR_EXCEPTION", "Error: Cannot find package"),
        ("require('nothing-like-it')", "ERR_EXCEPTION", "Error: Cannot find module 'nothing-like-it'"),
        ("exports.handler = 5", "ERR_EXCEPTION", "TypeError: hello.js exports no function 'handler'"),
        ("await new Promise(() => {}); export const handler = 1", "ERR_EXCEPTION", "Error: a top-level await never settled"),
        ("process.exit(2)", "ERR_EXIT", "the function exited with code 2"),
        ("new ArrayBuffer(2 ** 52)", "ERR_OOM", "RangeError: Array buffer allocation failed"),
    ],
)
def test_a_source_that_fails_to_evaluate_fails_every_call(load, source, code, error):
    process = load(source)
    for _ in range(2):
        answer = process.invoke()
        assert (answer.code, answer.error[: len(error)]) == (code, error)
        assert process.started() == answer.call_id
    assert not re.search(r"faas:|runtimes|/tmp", answer.error + answer.log)
    assert process.end() == 0


def test_children_do_not_inherit_the_frames(load):
    source = "exports.handler = () => require('child_process').execSync('ls /proc/self/fd', { encoding: 'utf8' })"
    assert set(load(source).invoke().json().split()) <= {"0", "1", "2", "3"}  # 3 is ls's own


def test_the_heap_limit_ends_the_process_with_nodes_message(load):
    source = "exports.handler = () => { const all = []; for (;;) all.push(new Array(1000).fill({})) }"
    process = load(source, flags=["--max-old-space-size=32"])
    process.send(process.call_frame())
    assert process.wait() < 0
    assert "JavaScript heap out of memory" in process.err


# HTTP, handler


EVENT = "exports.handler = async (event) => event"


def test_an_http_event_is_that_of_a_function_url(load):
    process = load(EVENT)
    headers = [
        ("host", "faas.example:8080"),
        ("user-agent", "curl/8"),
        ("x-many", "1"),
        ("cookie", "a=1; b=2"),
        ("x-many", "2"),
        ("cookie", "c=3"),
        ("x-utf8", "grüße".encode()),
        ("__proto__", "p"),
        ("x-forwarded-prefix", "/lies"),
    ]
    answer = process.http("PUT", "/a%20b/c?x=1&y=%C3%A9&x=2&z&=e&p+q=+&__proto__=1", headers, b'{"k":"\xc3\xa9"}')
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    event = answer.json()
    context = event.pop("requestContext")
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b/c",
        "rawQueryString": "x=1&y=%C3%A9&x=2&z&=e&p+q=+&__proto__=1",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "host": "faas.example:8080",
            "user-agent": "curl/8",
            "x-many": "1,2",
            "x-utf8": "grüße",
            "__proto__": "p",
            "x-forwarded-prefix": "/fn/hello",
        },
        "queryStringParameters": {"x": "1,2", "y": "é", "z": "", "": "e", "p q": " ", "__proto__": "1"},
        "body": '{"k":"é"}',
        "isBase64Encoded": False,
        "pathParameters": None,
        "stageVariables": None,
    }
    assert context["http"] == {
        "method": "PUT",
        "path": "/a%20b/c",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.9",
        "userAgent": "curl/8",
    }
    assert context["requestId"] == "call-2"
    assert (context["domainName"], context["domainPrefix"]) == ("faas.example", "faas")
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["time"])
    assert context["timeEpoch"] > 1_600_000_000_000


def test_an_event_without_body_query_and_cookies_has_no_such_fields(load):
    event = load(EVENT).http("GET", "").json()
    assert event["rawPath"] == "/"
    assert not {"body", "cookies", "queryStringParameters"} & set(event)


def test_a_binary_body_comes_in_base64(load):
    event = load(EVENT).http("POST", "/", (), bytes(range(256))).json()
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == bytes(range(256))


def respond(value):
    return f"exports.handler = () => ({value if isinstance(value, str) else json.dumps(value)})"


def test_a_response_gives_status_headers_and_body(load):
    value = {
        "statusCode": 418,
        "headers": {"X-One": "1", "X-Number": 2, "X-Bool": True, "X-None": None, "Content-Type": "text/plain"},
        "multiValueHeaders": {"X-Two": ["a", "b"], "x-one": ["over"]},
        "cookies": ["a=1; Path=/", "b=2"],
        "body": "grün",
    }
    answer = load(respond(value)).http()
    assert answer.status == 418
    assert answer.output == "grün".encode()
    assert answer.values("h:X-Two") == ["a", "b"]
    assert answer.values("h:set-cookie") == ["a=1; Path=/", "b=2"]
    assert (answer.header("X-Number"), answer.header("X-Bool"), answer.header("X-None")) == ("2", "true", None)
    assert (answer.values("h:X-One"), answer.values("h:x-one")) == ([], ["over"])
    assert answer.header("Content-Type") == "text/plain"
    assert answer.value("json") is None


@pytest.mark.parametrize(
    "value, status, content_type, output",
    [
        ("{ statusCode: 200, body: 'x' }", 200, "application/json", b"x"),
        ("{ statusCode: '201', body: { a: 1 } }", 201, "application/json", b'{"a":1}'),
        ("{ statusCode: 204 }", 204, None, b""),
        ("{ statusCode: 200, body: 'AAH/', isBase64Encoded: true }", 200, "application/json", b"\0\1\xff"),
        ("{ statusCode: 200, body: Buffer.from([0, 255]) }", 200, "application/json", b"\0\xff"),
        ("{ message: 'no status' }", 200, "application/json", b'{"message":"no status"}'),
        ("'text'", 200, "application/json", b'"text"'),
        ("undefined", 200, "application/json", b"null"),
    ],
)
def test_other_values_are_json_bodies(load, value, status, content_type, output):
    answer = load(respond(value)).http()
    assert (answer.code, answer.status, answer.output) == ("ERR_OK", status, output)
    assert answer.header("content-type") == content_type


@pytest.mark.parametrize(
    "value, error",
    [
        ({"statusCode": "abc"}, "status is abc"),
        ({"statusCode": 99}, "status is 99"),
        ({"statusCode": 600}, "status is 600"),
        ({"statusCode": True}, "status is true"),
        ({"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: b"}}, "header X has a control character"),
        ({"statusCode": 200, "headers": {"X Y": "a"}}, 'a header of the answer has the name "X Y"'),
        ({"statusCode": 200, "headers": {"X=Y": "a"}}, 'a header of the answer has the name "X=Y"'),
        ({"statusCode": 200, "headers": ["X"]}, "the answer's headers is no object"),
        ({"statusCode": 200, "body": "%%%", "isBase64Encoded": True}, "the answer's body is not base64"),
    ],
)
def test_an_answer_that_makes_no_sense_is_bad_answer(load, value, error):
    answer = load(respond(value)).http()
    assert answer.code == "ERR_BAD_ANSWER"
    assert error in answer.error


def test_headers_of_framing_are_left_to_the_gateway(load):
    headers = {"Content-Length": "5", "Transfer-Encoding": "chunked", "Connection": "close", "X": "y"}
    answer = load(respond({"statusCode": 200, "headers": headers})).http()
    assert [name for name, _ in answer.head if name.startswith(b"h:")] == [b"h:X"]


# fetch


FETCH = """
    export default {
      async fetch(request, env, ctx) {
        const url = new URL(request.url);
        return Response.json({
          method: request.method, url: request.url, path: url.pathname, query: url.searchParams.getAll('q'),
          headers: [...request.headers], hasBody: request.body !== null, text: await request.text(), env,
          used: request.bodyUsed,
        }, { status: 203 });
      },
    };
"""


def test_fetch_gets_the_request(load):
    process = load(FETCH, "fetch", env={"A": "b", "__proto__": "p"})
    headers = [("host", "Faas.Example:80"), ("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("x-latin", b"\xe9")]
    answer = process.http("post", "/a%20b/../c?q=1&q=2", headers, b"body \xc3\xa9")
    assert answer.status == 203
    assert answer.header("content-type") == "application/json"
    got = answer.json()
    assert got["url"] == "http://faas.example/c?q=1&q=2"
    assert (got["method"], got["path"], got["query"]) == ("post", "/c", ["1", "2"])
    assert got["headers"] == [
        ["host", "Faas.Example:80"],
        ["x-a", "2"],
        ["x-b", "1, 3"],
        ["x-forwarded-prefix", "/fn/hello"],
        ["x-latin", "\xe9"],
    ]
    assert (got["text"], got["hasBody"], got["used"]) == ("body é", True, True)
    assert got["env"] == {"A": "b", "__proto__": "p"}


def test_fetch_get_and_head_have_no_body(load):
    process = load(FETCH, "fetch")
    for method in ("GET", "HEAD"):
        got = process.http(method, "", [("host", "bad host/")], b"ignored").json()
        assert (got["method"], got["url"], got["hasBody"], got["text"]) == (method, "http://localhost/", False, "")


def test_fetch_on_invoke_is_a_post_to_the_root(load):
    answer = load(FETCH, "fetch").invoke(b"payload")
    got = answer.json()
    assert (got["method"], got["url"], got["text"]) == ("POST", "http://localhost/", "payload")
    assert answer.head == []


@pytest.mark.parametrize(
    "source",
    [
        "export default { fetch(request) { return new Response('ok') } }",
        "export default { fetch: async () => new Response('ok') }",
        "export default { text: 'ok', async fetch() { await new Promise(setImmediate); return new Response(this.text) } }",
        "export default new (class { #t = 'ok'; fetch() { return new Response(this.#t) } })()",
        "export function fetch() { return new Response('ok') }",
        "exports.fetch = () => new Response('ok')",
        "module.exports = { fetch: () => new Response('ok') }",
        "exports.default = { fetch: () => new Response('ok') }",
    ],
)
def test_every_style_of_fetch(load, source):
    process = load(source, "fetch", module="export " in source)
    for _ in range(3):
        assert process.http().output == b"ok"


@pytest.mark.parametrize(
    "expression, output, content_type",
    [
        ("new Response('grün')", "grün".encode(), "text/plain;charset=UTF-8"),
        ("new Response()", b"", None),
        ("new Response(null)", b"", None),
        ("new Response('')", b"", "text/plain;charset=UTF-8"),
        ("new Response(17)", b"17", "text/plain;charset=UTF-8"),
        ("new Response('x', { headers: { 'Content-Type': 'text/html' } })", b"x", "text/html"),
        ("new Response(new Uint8Array([0, 255]))", b"\0\xff", None),
        ("new Response(new Uint16Array([1, 2]).subarray(1))", b"\2\0", None),
        ("new Response(new Uint8Array([7, 8]).buffer)", b"\7\x08", None),
        ("new Response(Buffer.from('buffer'))", b"buffer", None),
        ("new Response(new URLSearchParams({ a: 'b c' }))", b"a=b+c", "application/x-www-form-urlencoded;charset=UTF-8"),
        ("new Response(new Blob(['bl', 'ob'], { type: 'text/x' }))", b"blob", "text/x"),
        ("Response.json({ a: 1 })", b'{"a":1}', "application/json"),
        ("new Response(new Response('inner').body)", b"inner", None),
        ("new Response('cloned').clone()", b"cloned", "text/plain;charset=UTF-8"),
        ("new Response(new Blob(['s']).stream())", b"s", None),
        ("new Response((async function* () { yield 'one '; yield new Uint8Array([50]) })())", b"one 2", None),
        (
            "new Response(new ReadableStream({ async start(c) { for (const t of ['a', 'b']) {"
            " await new Promise((r) => setTimeout(r, 2)); c.enqueue(new TextEncoder().encode(t)) } c.close() } }))",
            b"ab",
            None,
        ),
        ("await fetch('data:text/x,native')", b"native", "text/x"),
        ("await fetch(new Request('data:text/x,ours'))", b"ours", "text/x"),
    ],
)
def test_bodies_of_a_response(load, expression, output, content_type):
    process = load(f"export default {{ async fetch() {{ return {expression} }} }}", "fetch")
    for _ in range(2):
        answer = process.http()
        assert (answer.code, answer.error) == ("ERR_OK", None)
        assert answer.output == output
        assert answer.header("content-type") == content_type


def test_headers_of_a_response_keep_their_order_and_cookies(load):
    source = """
        export default { fetch() {
          const headers = new Headers([['X-Z', '1'], ['x-a', '2']]);
          headers.append('Set-Cookie', 'a=1');
          headers.append('X-Z', '3');
          headers.append('Set-Cookie', 'b=2');
          headers.append('X-Latin', '\\u00e9');
          headers.set('content-length', '99');
          return new Response('x', { status: 201, statusText: 'Made', headers });
        } };
    """
    answer = load(source, "fetch").http()
    assert answer.status == 201
    assert answer.head == [
        (b"status", b"201"),
        (b"h:X-Z", b"1"),
        (b"h:x-a", b"2"),
        (b"h:Set-Cookie", b"a=1"),
        (b"h:X-Z", b"3"),
        (b"h:Set-Cookie", b"b=2"),
        (b"h:X-Latin", b"\xe9"),
        (b"h:content-type", b"text/plain;charset=UTF-8"),
    ]


@pytest.mark.parametrize(
    "body, code, error",
    [
        ("return 'text'", "ERR_EXCEPTION", "TypeError: the value that 'fetch' returned is no Response"),
        ("", "ERR_EXCEPTION", "TypeError: the value that 'fetch' returned is no Response"),
        ("throw new TypeError('no')", "ERR_EXCEPTION", "TypeError: no"),
        ("return new Response('x', { status: 600 })", "ERR_EXCEPTION", "RangeError: init"),
        ("return new Response('x', { status: 204 })", "ERR_EXCEPTION", "TypeError: Response with status 204"),
        ("return new Response('x', { headers: { 'a b': 'c' } })", "ERR_EXCEPTION", "TypeError: Headers"),
        ("return new Response('x', { headers: { a: 'b\\nc' } })", "ERR_EXCEPTION", "TypeError: Headers"),
        ("return Response.error()", "ERR_BAD_ANSWER", "the answer's status is 0"),
        ("const r = new Response('x'); await r.text(); return r", "ERR_EXCEPTION", "TypeError: the body of the Response"),
        ("return new Response('x'.repeat((1 << 20) + 1))", "ERR_OUTPUT", "the output is over the limit of 1 MiB"),
        ("return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)) } }))", "ERR_OUTPUT", "the output is over"),
        ("return new Response(new ReadableStream({ pull(c) { c.enqueue('text') } }))", "ERR_EXCEPTION", "TypeError: A chunk of the body"),
        ("return new Response(new ReadableStream({ pull(c) { c.error(new Error('torn')) } }))", "ERR_EXCEPTION", "Error: torn"),
        ("return new Response(new ReadableStream({}))", "ERR_EXCEPTION", "Error: the body of the Response never ended"),
    ],
)
def test_fetch_answers_that_are_wrong(load, body, code, error):
    source = f"let n = 0; export default {{ async fetch() {{ if (n++ === 1) return new Response('on'); {body} }} }}"
    process = load(source, "fetch", module=True, limits={"output_mb": 1})
    answer = process.http()
    assert (answer.code, (answer.error or "")[: len(error)]) == (code, error)
    assert process.http().output == b"on"


def test_wait_until_runs_on_after_the_answer_and_calls_go_on(load):
    process = load(
        """
        let release;
        let done = 'not yet';
        export default { fetch(request, env, ctx) {
          const path = new URL(request.url).pathname;
          if (path === '/start') {
            ctx.waitUntil(new Promise((r) => { release = r }).then(() => { done = 'done'; console.log('background') }));
            ctx.waitUntil(Promise.reject(new Error('only logged')));
          }
          if (path === '/release') setTimeout(release, 10);
          return new Response(done);
        } };
        """,
        "fetch",
    )
    assert process.http(uri="/start").output == b"not yet"
    process.pump(lambda: "Error: only logged" in process.err)
    for _ in range(3):
        assert process.http(uri="/other").output == b"not yet"
    assert process.http(uri="/release").output == b"not yet"
    process.pump(lambda: process.out == b"background\n")
    assert process.http().output == b"done"
    assert process.http().output == b"done"
    assert process.end() == 0


def test_wait_until_is_honoured_when_the_process_ends(load):
    source = """
        export default { fetch(request, env, ctx) {
          ctx.waitUntil(new Promise((done) => setTimeout(done, 50)).then(() => console.log('done')));
          return new Response('ok');
        } };
    """
    process = load(source, "fetch")
    assert process.http().output == b"ok"
    assert process.end() == 0
    assert process.out == b"done\n"


STANDARD = r"""
    import assert from 'node:assert';
    const encode = (text) => new TextEncoder().encode(text);
    const tests = {
      async bodies() {
        const make = (body) => new Request('http://x/', { method: 'POST', body });
        assert.strictEqual(await make('\ufeffmark').text(), 'mark');
        assert.deepStrictEqual(await make('{"a":1}').json(), { a: 1 });
        assert.deepStrictEqual(new Uint8Array(await make(encode('ab')).arrayBuffer()), encode('ab'));
        assert.deepStrictEqual(await make('ab').bytes(), encode('ab'));
        const blob = await new Response('b', { headers: { 'content-type': 'text/x' } }).blob();
        assert.deepStrictEqual([await blob.text(), blob.type], ['b', 'text/x']);
        assert.strictEqual((await make(new URLSearchParams('a=1&b=2')).formData()).get('b'), '2');
        const form = new FormData();
        form.append('field', 'value');
        const request = make(form);
        assert.match(request.headers.get('content-type'), /^multipart\/form-data; ?boundary=/);
        assert.strictEqual((await request.formData()).get('field'), 'value');
        await assert.rejects(make('{').json(), SyntaxError);
      },
      async 'a body is used once'() {
        const response = new Response('x');
        assert.strictEqual(response.bodyUsed, false);
        await response.text();
        assert.strictEqual(response.bodyUsed, true);
        await assert.rejects(response.text(), TypeError);
        await assert.rejects(response.arrayBuffer(), TypeError);
        assert.throws(() => response.clone(), TypeError);
        const streamed = new Response('abc');
        const reader = streamed.body.getReader();
        assert.deepStrictEqual((await reader.read()).value, encode('abc'));
        assert.strictEqual(streamed.bodyUsed, true);
        assert.strictEqual(new Response().body, null);
        const same = new Response('x');
        assert.strictEqual(same.body, same.body);
      },
      async clones() {
        for (const body of ['text', new Response('text').body]) {
          const one = new Response(body, { status: 201, headers: { a: 'b' } });
          const two = one.clone();
          assert.deepStrictEqual([await one.text(), await two.text(), two.status, two.headers.get('a')], ['text', 'text', 201, 'b']);
        }
        const request = new Request('http://x/', { method: 'PUT', body: 'b' });
        const clone = request.clone();
        assert.deepStrictEqual([await clone.text(), clone.method, await request.text()], ['b', 'PUT', 'b']);
      },
      headers() {
        const headers = new Headers({ 'X-B': ' 1 ', A: '2' });
        headers.append('x-b', '3');
        assert.deepStrictEqual([...headers], [['a', '2'], ['x-b', '1, 3']]);
        assert.deepStrictEqual([...headers.keys()], ['a', 'x-b']);
        assert.deepStrictEqual([...headers.values()], ['2', '1, 3']);
        headers.set('X-b', '4');
        assert.strictEqual(headers.get('x-B'), '4');
        headers.delete('A');
        assert.deepStrictEqual([headers.has('a'), headers.get('a')], [false, null]);
        headers.append('Set-Cookie', 'a=1');
        headers.append('Set-Cookie', 'b=2');
        assert.deepStrictEqual(headers.getSetCookie(), ['a=1', 'b=2']);
        assert.strictEqual(headers.get('set-cookie'), 'a=1, b=2');
        assert.strictEqual([...headers].length, 3);
        const seen = [];
        headers.forEach((value, name, all) => seen.push([name, value, all === headers]));
        assert.deepStrictEqual(seen[2], ['x-b', '4', true]);
        assert.deepStrictEqual([...new Headers(headers)], [...headers]);
        assert.deepStrictEqual([...new Headers(new Map([['m', 1]]))], [['m', '1']]);
        assert.throws(() => new Headers([['a']]), TypeError);
        assert.throws(() => new Headers('x'), TypeError);
        assert.throws(() => headers.set('a', '\u0100'), TypeError);
        assert.throws(() => headers.get(''), TypeError);
        assert.strictEqual(String(headers), '[object Headers]');
      },
      requests() {
        const request = new Request('http://X:80/a b?c#d', { method: 'post', headers: { a: 'b' }, body: 'x' });
        assert.strictEqual(request.method, 'POST');
        assert.strictEqual(request.url, 'http://x/a%20b?c#d');
        assert.strictEqual(request.headers.get('content-type'), 'text/plain;charset=UTF-8');
        assert.strictEqual(new Request('http://x/', { method: 'patch' }).method, 'patch');
        const copy = new Request(request, { headers: { c: 'd' } });
        assert.deepStrictEqual([copy.method, copy.headers.get('a'), copy.headers.get('c'), request.bodyUsed], ['POST', null, 'd', true]);
        assert.throws(() => new Request('http://x/', { body: 'x' }), TypeError);
        assert.throws(() => new Request('http://x/', { method: 'TRACE' }), TypeError);
        assert.throws(() => new Request('http://x/', { method: 'a b' }), TypeError);
        assert.throws(() => new Request('http://u:p@x/'), TypeError);
        assert.throws(() => new Request('/relative'), TypeError);
        assert.throws(() => new Request(), TypeError);
        const stopper = new AbortController();
        const signalled = new Request('http://x/', { signal: stopper.signal });
        stopper.abort();
        assert.strictEqual(signalled.signal.aborted, true);
        assert.strictEqual(new Request('http://x/').signal.aborted, false);
        assert.deepStrictEqual([request.redirect, request.mode, request.cache, request.credentials, request.duplex], ['follow', 'cors', 'default', 'same-origin', 'half']);
        assert.strictEqual(String(request), '[object Request]');
        assert.ok(request instanceof Request);
      },
      responses() {
        const response = new Response('x', { status: 404, statusText: 'Gone' });
        assert.deepStrictEqual([response.ok, response.statusText, response.type, response.redirected, response.url], [false, 'Gone', 'default', false, '']);
        const redirect = Response.redirect('http://x/y', 301);
        assert.deepStrictEqual([redirect.status, redirect.headers.get('location')], [301, 'http://x/y']);
        assert.throws(() => Response.redirect('http://x/', 200), RangeError);
        assert.throws(() => Response.json(undefined), TypeError);
        assert.throws(() => new Response('x', { status: 199 }), RangeError);
        assert.throws(() => new Response('x', { statusText: 'a\nb' }), TypeError);
        assert.deepStrictEqual([Response.error().type, Response.error().status], ['error', 0]);
        assert.strictEqual(Response.json(1, { headers: { 'content-type': 'x/y' } }).headers.get('content-type'), 'x/y');
        assert.ok(response instanceof Response);
        assert.ok(!({} instanceof Response));
        class Mine extends Response {}
        assert.ok(new Mine('x') instanceof Mine);
        assert.ok(!(response instanceof Mine));
        assert.strictEqual(String(response), '[object Response]');
      },
      'shown to people'() {
        const { inspect } = process.getBuiltinModule?.('util') ?? { inspect: null };
        if (inspect === null) return;
        assert.match(inspect(new Response('x')), /^Response \{/);
        assert.match(inspect(new Request('http://x/')), /^Request \{/);
        assert.match(inspect(new Headers({ a: 'b' })), /^Headers \{/);
      },
    };
    export default { async fetch(request) {
      if (request.method === 'GET') return Response.json(Object.keys(tests));
      await tests[await request.text()]();
      return new Response('passed');
    } };
"""


def test_request_response_and_headers_are_those_of_the_fetch_standard(load):
    process = load(STANDARD, "fetch")
    names = process.http().json()
    assert len(names) == 7
    for name in names:
        answer = process.http("POST", body=name.encode())
        assert (name, answer.code, answer.output) == (name, "ERR_OK", b"passed"), answer.log


# Scripts


def test_a_script_is_the_main_program(script):
    code, out, err = script(
        """
        const fs = require('fs');
        const args = process.argv.slice(1);
        console.log(JSON.stringify([require.main === module, args, __filename, fs.readFileSync(0, 'utf8')]));
        const { FAAS_FUNCTION, FAAS_CALL_ID, A } = process.env;
        console.log(FAAS_FUNCTION, FAAS_CALL_ID, A, fs.readFileSync('/proc/self/comm', 'utf8').trim());
        console.log([3, 4, 5].map((fd) => fs.readlinkSync(`/proc/self/fd/${fd}`)).some((l) => /^pipe:|memfd/.test(l)));
        """.replace("fs.readlinkSync(`/proc/self/fd/${fd}`)", "link(fs, fd)")
        + "\nfunction link(fs, fd) { try { return fs.readlinkSync(`/proc/self/fd/${fd}`) } catch { return '' } }",
        b"payload \xc3\xa9",
        env={"A": "b"},
    )
    assert (code, err) == (0, "")
    first, second, third = out.decode().splitlines()
    assert json.loads(first) == [True, ["hello.js"], "/tmp/hello.js", "payload é"]
    assert second == "hello call-77 b worker-node"
    assert third == "false"


def test_a_script_claims_its_call_and_answers_no_frame(start):
    process = start()
    assert run_script(process, "console.log('x')") == 0
    assert process.started() == 77
    assert not process.received[process.answers]
    assert process.out == b"x\n"


def test_an_es_module_script_has_imports_and_top_level_await(script):
    source = """
        import { readFileSync } from 'node:fs';
        const { default: os } = await import('os');
        await new Promise((done) => setTimeout(done, 5));
        for await (const part of process.stdin) console.log('payload', String(part));
        console.log(typeof readFileSync, typeof os.cpus, import.meta.url);
        setTimeout(() => console.log('later'), 5);
    """
    code, out, err = script(source, b"p")
    assert (code, err) == (0, "")
    assert re.fullmatch(rb"payload p\nfunction function file:///tmp/\d+/hello\.mjs\nlater\n", out)


def test_a_script_reads_stdin_by_its_descriptor_and_by_import(script):
    source = "import { stdin } from 'node:process';\nfor await (const part of stdin) console.log(String(part));"
    assert script(source, b"p") == (0, b"p\n", "")
    every = b"x" * (1 << 20)  # more than a pipe holds: it has to wait
    source = "const all = require('fs').readFileSync(0); console.log(all.length)"
    assert script(source, every) == (0, b"1048576\n", "")


def test_a_script_reads_stdin_as_a_stream(script):
    source = """
        let all = '';
        process.stdin.setEncoding('utf8').on('data', (part) => { all += part; });
        process.stdin.on('end', () => process.stdout.write(String(all.length)));
    """
    assert script(source, b"x" * (3 << 20)) == (0, str(3 << 20).encode(), "")


def test_a_script_sees_an_http_call_as_cgi(script):
    head = http_head("POST", "/a%20b?q=1", [("content-type", "text/x"), ("content-length", "3"), ("x_a", "no"), ("x-a", "1")])
    source = "console.log(JSON.stringify(process.env))"
    _, out, _ = script(source, b"abc", head=head)
    got = json.loads(out)
    expected = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "q=1",
        "SCRIPT_NAME": "/fn/hello",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "3",
        "HTTP_X_A": "1",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REMOTE_ADDR": "127.0.0.9",
    }
    assert {key: got.get(key) for key in expected} == expected
    _, out, _ = script(source)
    assert "REQUEST_METHOD" not in json.loads(out)


@pytest.mark.parametrize(
    "tail", ["", "process.exit(0)", "process.exit(3)", "throw 1", "process.stdout.end('the end')", "process.exitCode = 3"]
)
def test_a_large_output_is_whole_however_the_script_ends(script, tail):
    code, out, _ = script(f"console.log('x'.repeat(5 << 20));\nprocess.stdout.write('y');\n{tail}")
    assert code == (1 if "throw" in tail else 3 if "3" in tail else 0)
    assert len(out) == (5 << 20) + 2 + (7 if "end" in tail else 0)


def test_bytes_pass_through_a_script_unchanged(script):
    every = bytes(range(256)) * 4096
    for source in ("process.stdin.pipe(process.stdout)", "process.stdout.write(require('fs').readFileSync(0))"):
        assert script(source, every) == (0, every, "")


@pytest.mark.parametrize(
    "source, code, out",
    [
        ("console.log('a'); process.exit(3)", 3, b"a\n"),
        ("process.exitCode = 4; console.log('a')", 4, b"a\n"),
        ("process.on('exit', (code) => console.log('exit', code)); setTimeout(() => console.log('late'), 5)", 0, b"late\nexit 0\n"),
        ("process.on('uncaughtException', (e) => console.log('caught', e)); setImmediate(() => console.log('on')); throw 1", 0, b"caught 1\non\n"),
        ("process.kill(process.pid, 'SIGTERM')", -signal.SIGTERM, b""),
        ("await new Promise(() => {})", 13, b""),
        ("await 1; process.exit(5)", 5, b""),
        ("console.log(require('child_process').execSync('echo hi').toString().trim())", 0, b"hi\n"),
        ("await Promise.all([1, 2]); console.log(typeof Response, typeof fetch)", 0, b"function function\n"),
    ],
)
def test_how_scripts_end(script, source, code, out):
    assert script(source)[:2] == (code, out)


@pytest.mark.parametrize(
    "source, line",
    [
        ("function f() {\n  null.x;\n}\nf();", 2),
        ("setTimeout(() => {\n  null.x }, 1)", 2),
        ("Promise.resolve().then(() => {\n\n  null.x })", 3),
        ("import 'fs';\nawait 1;\nfunction f() {\n null.x }\nf()", 4),
    ],
)
def test_a_scripts_uncaught_exception_names_its_file_and_line(script, source, line):
    code, out, err = script("console.log('before');" + source if "import" not in source else source)
    assert code == 1
    assert "TypeError: Cannot read properties of null (reading 'x')" in err
    assert re.search(rf"hello\.js:{line}(:\d+)?\b", err)
    assert "runtimes" not in err and str(ROOT) not in err


@pytest.mark.parametrize("source", ["let x = ;", "import 'fs';\nlet x = ;"])
def test_a_script_that_is_no_javascript_fails_with_its_name(script, source):
    code, _, err = script(source)
    assert code == 1
    assert "SyntaxError: Unexpected token ';'" in err
    assert "hello." in err and "runtimes" not in err


def test_a_script_prints_at_once(start):
    process = start()
    process.send(process.load_frame("console.log('now'); for (;;);", "script") + process.call_frame())
    process.pump(lambda: process.out == b"now\n")


def test_a_spare_that_gets_no_call_ends(start):
    process = start()
    process.send(process.load_frame("console.log('x')", "script"))
    assert process.end() == 0
    assert process.out == b""


# Examples of every entry style, as a user writes them


EXAMPLES = {
    "fetch": (
        "export default {\n  async fetch(request, env, ctx) {\n    const { name } = await request.json();\n"
        "    return new Response(`Hello ${name}`);\n  },\n};\n",
        b"Hello Ada",
    ),
    "handler": ("exports.handler = async (event, context) => ({ hello: event.name });\n", b'{"hello":"Ada"}'),
    "module handler": ("export function handler(event, context) {\n  return event.name;\n}\n", b'"Ada"'),
    "callback handler": ("exports.handler = (event, context, done) => done(null, event.name);\n", b'"Ada"'),
}


@pytest.mark.parametrize("style", EXAMPLES)
def test_an_example_of_each_style(load, style):
    source, output = EXAMPLES[style]
    process = load(source, style.rpartition(" ")[2])
    for _ in range(3):
        assert process.invoke({"name": "Ada"}).output == output


def test_an_example_of_a_script(script):
    source = "const { name } = JSON.parse(require('fs').readFileSync(0, 'utf8'));\nconsole.log(`Hello ${name}`);"
    assert script(source, b'{"name": "Ada"}') == (0, b"Hello Ada\n", "")

"""runtimes/python: real interpreters, spoken to as the gateway does."""

import ast
import base64
import json
import os
import re
import signal
import textwrap

import pytest

from runtime_harness import (
    CODES,
    COLD,
    LAST,
    PYTHON,
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

pytestmark = pytest.mark.skipif(PYTHON is None, reason="no python3 on this machine")
BOOT = str(RUNTIMES / "python/boot.py")


@pytest.fixture
def start():
    """Starts processes that end with the test."""
    processes = []

    def make(env=None):
        process = Process([PYTHON, "-I", "-S", BOOT], env)
        processes.append(process)
        return process

    yield make
    for process in processes:
        process.close()


@pytest.fixture
def load(start):
    def make(source, entry="handler", **kw):
        return start().load(textwrap.dedent(source), entry, **kw)

    return make


@pytest.fixture
def script(start):
    """Runs a plain script. Returns the exit code, stdout and stderr."""

    def make(source, payload=b"", **kw):
        process = start()
        body = source if isinstance(source, bytes) else textwrap.dedent(source)
        code = run_script(process, body, payload, **kw)
        return code, process.out, process.err

    return make


def test_codes_and_frame_numbers_are_those_of_the_headers():
    source = (RUNTIMES / "python/frames.py").read_text()
    names, values = re.search(r"^(ERR_OK, .*?) = ([\d, ]+)$", source, re.M).groups()
    for name, value in zip(names.split(", "), values.split(", ")):
        assert CODES[name] == int(value)
    header = (ROOT / "src/wire/frame.h").read_text()
    numbers = dict(re.findall(r"X\((\w+), (\d), ", header))
    names, values = re.search(r"^(LOAD, .*?) = ([\d, ]+)$", source, re.M).groups()
    assert {name: str(int(value)) for name, value in zip(names.split(", "), values.split(", "))} == numbers


def test_every_module_is_python_311():
    for path in (RUNTIMES / "python").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 11))


# Life


def test_the_process_is_a_spare_until_its_load(start):
    process = start()
    process.pump(lambda: process.comm() == "spare-python")
    process.load("def handler(event, context): return 1", "handler")
    assert process.comm() == "worker-python"


def test_end_of_input_ends_a_spare_and_a_worker(start, load):
    assert start().end() == 0
    process = load("def handler(event, context): return 1")
    assert process.invoke().json() == 1
    assert process.end() == 0
    assert process.err == ""


def test_unload_ends_the_process(load):
    process = load("import atexit\natexit.register(print, 'bye')\ndef handler(event, context): return 1")
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
        make_frame(1, b"FAAS_FUNCTION=f\0FAAS_VERSION=1\0entry=fetch\0"),
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
    assert process.err.startswith("faas: ")
    assert "Traceback" not in process.err


def test_a_call_with_id_0_or_a_second_load_ends_a_worker(load):
    process = load("def handler(event, context): return 1")
    process.send(process.call_frame(call_id=0))
    assert process.wait() == 70
    process = load("def handler(event, context): return 1")
    process.send(process.load_frame("", "handler"))
    assert process.wait() == 70


def test_calls_in_one_write_are_answered_in_order(load):
    process = load("def handler(event, context): return event")
    process.send(b"".join(process.call_frame(b"%d" % i, call_id=i + 1, slot=i) for i in range(50)))
    for i in range(50):
        answer = process.answer()
        assert (answer.call_id, answer.slot, answer.json()) == (i + 1, i, i)


SLOW = """
import time
ran = 0
def handler(event, context):
    global ran
    ran += 1
    time.sleep(1 if event == "slow" else 0)
    return ran
"""


def test_finished_answers_do_not_wait_for_the_call_behind_them(load):
    process = load(SLOW)
    check_finished_answers_do_not_wait(process)


def test_withdrawn_calls_are_skipped(load):
    process = load(SLOW)
    check_withdrawn_calls_are_skipped(process)
    assert process.invoke().json() == 5  # the withdrawn one has not run


def test_a_frame_may_come_in_pieces(load):
    process = load("def handler(event, context): return event")
    frame = process.call_frame(b'{"a":1}', call_id=(1 << 61) + 5)
    for byte in frame:
        process.send(bytes([byte]))
    answer = process.answer()
    assert answer.call_id == (1 << 61) + 5
    assert answer.json() == {"a": 1}
    assert process.started() == (1 << 61) + 5


@pytest.mark.parametrize("size", [65400, 65504, 65536, 1 << 20, 9 << 20])
def test_a_large_payload_and_answer_arrive_whole(load, size):
    process = load("def handler(event, context): return event[::-1]")
    payload = ("0123456789" * (size // 10 + 1))[:size]
    assert process.invoke(payload).json() == payload[::-1]
    assert process.invoke("next").json() == "txen"


def test_the_call_is_claimed_in_the_page_before_it_starts(load):
    process = load("import time\ndef handler(event, context):\n    time.sleep(30)")
    process.send(process.call_frame(call_id=4711))
    process.pump(lambda: process.started() == 4711)


def test_the_first_answer_is_cold_and_times_are_measured(load):
    process = load("import time\ndef handler(event, context): time.sleep(0.05)")
    first, second = process.invoke(), process.invoke()
    assert (first.flags & COLD, second.flags & COLD) == (COLD, 0)
    assert first.run_ns >= 50_000_000
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
        (b"[Infinity]", "[Infinity]"),
        ("é€😀".encode(), "é€😀"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\xef\xbb\xbf1", "\ufeff1"),
        (b"[" * 100000, "[" * 100000),
    ],
)
def test_the_event_is_the_json_payload_else_a_string(load, payload, event):
    answer = load("def handler(event, context): return [event]").invoke(payload)
    assert answer.json() == [event]
    assert answer.value("json") == "1"


@pytest.mark.parametrize(
    "expression, output",
    [
        ("'hello'", b'"hello"'),
        ("None", b"null"),
        ("{'a': 1, 'b': [True]}", b'{"a": 1, "b": [true]}'),
        ("(1, 2)", b"[1, 2]"),
        ("'é\\x00\\n\"'", '"é\\u0000\\n\\""'.encode()),
        ("'\\ud800'", b'"\\ud800"'),
        ("__import__('decimal').Decimal('1.5')", b"1.5"),
        ("__import__('decimal').Decimal('3')", b"3"),
        ("{1: 'x'}", b'{"1": "x"}'),
    ],
)
def test_the_value_goes_out_as_json(load, expression, output):
    answer = load(f"def handler(event, context): return {expression}").invoke()
    assert answer.code == "ERR_OK"
    assert answer.output == output


@pytest.mark.parametrize(
    "expression, message",
    [
        ("{1, 2}", "Object of type set is not JSON serializable"),
        ("b'x'", "Object of type bytes is not JSON serializable"),
        ("object()", "Object of type object is not JSON serializable"),
        ("float('nan')", "Out of range float values are not JSON compliant"),
        ("loop", "Circular reference detected"),
        ("{(1, 2): 3}", "keys must be str, int, float, bool or None"),
    ],
)
def test_a_value_that_json_cannot_express_is_an_exception(load, expression, message):
    process = load(f"loop = []\nloop.append(loop)\ndef handler(event, context): return {expression}")
    answer = process.invoke()
    assert answer.code == "ERR_EXCEPTION"
    assert answer.error.startswith("TypeError: the handler's value cannot be sent as JSON: ")
    assert message in answer.error
    assert process.invoke().code == "ERR_EXCEPTION"


def test_the_context_is_lambdas(load):
    process = load(
        """
        import os, time
        def handler(event, context):
            first = context.get_remaining_time_in_millis()
            time.sleep(0.02)
            return {
                "left": [first, context.get_remaining_time_in_millis()],
                "names": [context.function_name, context.function_version, context.aws_request_id],
                "memory": context.memory_limit_in_mb,
                "arn": context.invoked_function_arn,
                "none": [context.identity, context.client_context],
                "env": {k: v for k, v in os.environ.items() if k.startswith("FAAS_") or k == "GREETING"},
                "now": time.time() * 1000,
            }
        """,
        limits={"timeout_ms": 3000, "memory_mb": 64},
        env={"GREETING": "grüß = dich", "FAAS_VERSION": "99"},
    )
    got = process.invoke().json()
    assert 2000 < got["left"][0] <= 3000
    assert got["left"][1] <= got["left"][0] - 19
    assert got["names"] == ["hello", "3", "call-2"]
    assert got["memory"] == 64
    assert got["arn"].endswith(":function:hello")
    assert got["none"] == [None, None]
    assert got["env"]["GREETING"] == "grüß = dich"
    assert (got["env"]["FAAS_FUNCTION"], got["env"]["FAAS_VERSION"]) == ("hello", "3")
    assert got["env"]["FAAS_CALL_ID"] == "call-2"
    assert 0 < int(got["env"]["FAAS_DEADLINE_MS"]) - got["now"] <= 3000
    assert process.invoke().json()["env"]["FAAS_CALL_ID"] == "call-3"


def test_state_stays_between_calls_of_one_process(load):
    process = load("n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n")
    assert [process.invoke().json() for _ in range(3)] == [1, 2, 3]


def test_prints_are_the_log_and_there_before_the_answer(load):
    process = load(
        """
        import sys
        print("at load")
        def handler(event, context):
            print("out", event, "\\udcff", end="")
            print("err", file=sys.stderr, end="")
            return 1
        """
    )
    process.pump(lambda: process.out == b"at load\n")
    answer = process.invoke(5)
    assert answer.output == b"1"
    process.pump(lambda: process.out == b"at load\nout 5 \\udcff" and process.err == "err")


def test_a_handler_that_closes_or_replaces_its_streams_is_still_served(load):
    process = load(
        """
        import io, os, sys
        def handler(event, context):
            if event == "close":
                sys.stdout.close()
            if event == "replace":
                sys.stdout = io.StringIO()
            if event == "environ":
                os.environ = {}
            if event == "patch":
                import json, time
                os.read = os.write = json.dumps = json.loads = time.monotonic_ns = None
                json.JSONEncoder.encode = json.JSONDecoder.decode = None
            return event
        """
    )
    for event in ("replace", "close", "environ", "patch", "last"):
        assert process.invoke(event).json() == event


def test_stdin_of_a_handler_is_empty(load):
    assert load("import sys\ndef handler(event, context): return sys.stdin.read()").invoke().json() == ""


def test_an_async_handler_is_awaited_on_one_loop(load):
    process = load(
        """
        import asyncio
        loops = set()
        async def later(): await asyncio.sleep(0.01); return "later"
        async def handler(event, context):
            loops.add(id(asyncio.get_running_loop()))
            return [await later(), len(loops), event]
        """
    )
    assert process.invoke(1).json() == ["later", 1, 1]
    assert process.invoke(2).json() == ["later", 1, 2]


def test_a_plain_handler_may_return_an_awaitable_and_run_loops_of_its_own(load):
    process = load(
        """
        import asyncio
        class Awaitable:
            def __await__(self):
                yield from asyncio.sleep(0).__await__()
                return "awaited"
        async def one(): return 1
        def handler(event, context):
            return Awaitable() if event else asyncio.run(one())
        """
    )
    for event, value in ((1, "awaited"), (0, 1), (1, "awaited")):
        assert process.invoke(event).json() == value


def test_a_handler_may_be_any_callable(load):
    source = "class Handler:\n    def __call__(self, event, context): return 'called'\nhandler = Handler()"
    assert load(source).invoke().json() == "called"


def test_the_users_module_is_a_module_of_its_own(load):
    process = load(
        """
        import dataclasses, sys, typing
        @dataclasses.dataclass
        class Point:
            x: "typing.ClassVar[int]" = 1
            y: int = 2
        def handler(event, context):
            return [__name__, __file__, Point().y, sys.argv, [p for p in sys.path if "runtimes" in p],
                    sorted(m for m in ("frames", "wsgi", "process", "script") if m in sys.modules)]
        """
    )
    assert process.invoke().json() == ["function", "hello.py", 2, ["hello"], [], []]


# Failures


def failing(body):
    return "def handler(event, context):\n" + textwrap.indent(textwrap.dedent(body), "    ")


def test_an_exception_names_the_users_file_and_nothing_of_the_platform(load):
    process = load(
        """
        import json
        class Oops(Exception): pass
        def inner():
            raise Oops("bad\\x00 thing")
        def handler(event, context):
            try:
                inner()
            except Oops as error:
                raise ValueError("outer") from error
        """
    )
    answer = process.invoke()
    assert (answer.code, answer.error, answer.output) == ("ERR_EXCEPTION", "ValueError: outer", b"")
    assert 'File "hello.py", line 5, in inner' in answer.log
    assert 'raise Oops("bad' in answer.log
    assert "The above exception was the direct cause" in answer.log
    assert "ValueError: outer" in answer.log
    assert "faas" not in answer.log and "runtimes" not in answer.log
    assert process.invoke().code == "ERR_EXCEPTION"


@pytest.mark.parametrize(
    "body, code, error",
    [
        ("return 1 / 0", "ERR_EXCEPTION", "ZeroDivisionError: division by zero"),
        ("raise KeyError('x')", "ERR_EXCEPTION", "KeyError: 'x'"),
        ("raise RuntimeError", "ERR_EXCEPTION", "RuntimeError"),
        ("raise KeyboardInterrupt", "ERR_EXCEPTION", "KeyboardInterrupt"),
        ("raise GeneratorExit('g')", "ERR_EXCEPTION", "GeneratorExit: g"),
        ("return handler(event, context)", "ERR_EXCEPTION", "RecursionError: maximum recursion depth exceeded"),
        ("raise MemoryError", "ERR_OOM", "MemoryError"),
        ("raise MemoryError('mine')", "ERR_OOM", "MemoryError: mine"),
        ("return bytearray(1 << 62)", "ERR_OOM", "MemoryError"),
        ("raise BlockingIOError(11, 'not a fork')", "ERR_EXCEPTION", "BlockingIOError: [Errno 11] not a fork"),
        ("raise RuntimeError(\"can't start new thread\")", "ERR_PROCESSES", "RuntimeError: can't start new thread"),
        ("raise Exception('x\\x00y\\ud800')", "ERR_EXCEPTION", "Exception: x\\x00y?"),
        ("raise ExceptionGroup('two', [ValueError(1), TypeError(2)])", "ERR_EXCEPTION", "ExceptionGroup: two (2"),
    ],
)
def test_exceptions_become_codes(load, body, code, error):
    process = load(failing(body))
    for _ in range(2):
        answer = process.invoke()
        assert answer.code == code
        assert answer.error.startswith(error)


@pytest.mark.parametrize(
    "body, exit_code, log",
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit()", 0, ""),
        ("exit(4)", 4, ""),
        ("quit()", 0, ""),
        ("raise SystemExit(-1)", 255, ""),
        ("raise SystemExit('sorry')", 1, "sorry\n"),
    ],
)
def test_exits_are_answered_and_the_process_goes_on(load, body, exit_code, log):
    process = load(failing("if event == 'go on': return 'on'\n" + body))
    answer = process.invoke()
    assert (answer.code, answer.exit_code, answer.log) == ("ERR_EXIT", exit_code, log)
    assert answer.error == f"the function exited with code {exit_code}"
    assert answer.flags & LAST == 0
    assert process.invoke("go on").json() == "on"


def test_an_exit_inside_a_coroutine_is_an_exit(load):
    process = load("import sys\nasync def handler(event, context):\n    if event: sys.exit(5)\n    return 'on'")
    answer = process.invoke(1)
    assert (answer.code, answer.exit_code) == ("ERR_EXIT", 5)
    assert process.invoke(0).json() == "on"


def test_an_exception_whose_text_raises_is_named_by_its_type(load):
    source = """
        class Bad(Exception):
            def __str__(self): raise SystemExit(9)
        def handler(event, context): raise Bad()
    """
    answer = load(source).invoke()
    assert (answer.code, answer.error) == ("ERR_EXCEPTION", "Bad")


def test_a_huge_message_is_cut(load):
    answer = load(failing("raise ValueError('x' * (1 << 20))")).invoke()
    assert len(answer.error) == 4096
    assert len(answer.log) == 256 << 10


def test_memory_error_by_the_data_limit_frees_what_the_call_had(load):
    process = load(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (160 << 20, 160 << 20))
        def handler(event, context):
            if event == "bomb":
                blocks = []
                while True:
                    blocks.append(bytearray(1 << 20))
            return len(bytearray(100 << 20))
        """
    )
    for _ in range(3):
        assert process.invoke("bomb").code == "ERR_OOM"
        assert process.invoke("fits").json() == 100 << 20


def test_a_payload_that_does_not_fit_into_memory_is_answered_with_oom(load):
    process = load(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (48 << 20, 48 << 20))
        def handler(event, context): return len(event)
        """
    )
    assert process.invoke(b"x" * (64 << 20)).code == "ERR_OOM"
    assert process.invoke(b"still here").json() == 10


@pytest.mark.parametrize("how", ["os.fork()", "subprocess.run(['/bin/true'])", "os.posix_spawn('/bin/true', ['true'], {})"])
def test_a_fork_that_fails_is_processes(load, how):
    process = load(
        f"""
        import os, resource, subprocess
        def handler(event, context):
            os.setuid(65533) if os.getuid() == 0 else None
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
            {how}
        """
    )
    answer = process.invoke()
    assert answer.code == "ERR_PROCESSES"
    assert answer.error.startswith("BlockingIOError: [Errno 11] Resource temporarily unavailable")


def test_output_over_its_limit_is_an_error_of_its_own(load):
    process = load("def handler(event, context): return 'x' * event", limits={"output_mb": 1})
    assert process.invoke((1 << 20) - 2).code == "ERR_OK"
    answer = process.invoke((1 << 20) - 1)
    assert (answer.code, answer.error) == ("ERR_OUTPUT", "the output is over the limit of 1 MiB")
    assert process.invoke(3).json() == "xxx"


def test_os_exit_and_a_signal_end_the_process_without_an_answer(load):
    for body, code in (("import os; os._exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)):
        process = load(failing("print('before')\n" + body))
        process.send(process.call_frame())
        assert process.wait() == code
        assert process.out == b"before\n"
        assert process.started() == process.next_id


@pytest.mark.parametrize(
    "source, code, error",
    [
        ("1 / 0\ndef handler(e, c): pass", "ERR_EXCEPTION", "ZeroDivisionError: division by zero"),
        ("import nothing_like_it\ndef handler(e, c): pass", "ERR_EXCEPTION", "ModuleNotFoundError: No module"),
        ("def handler(e, c) pass", "ERR_EXCEPTION", "SyntaxError: expected ':' (hello.py, line 1)"),
        ("handler = 5", "ERR_EXCEPTION", "AttributeError: hello.py has no 'handler' that can be called"),
        ("import sys; sys.exit(2)", "ERR_EXIT", "the function exited with code 2"),
        ("raise MemoryError", "ERR_OOM", "MemoryError"),
    ],
)
def test_a_source_that_fails_to_evaluate_fails_every_call(load, source, code, error):
    process = load(source)
    for _ in range(2):
        answer = process.invoke()
        assert answer.code == code
        assert answer.error.startswith(error)
        assert process.started() == answer.call_id
    assert "faas_runtime" not in answer.log


def test_a_forked_child_that_returns_ends_and_answers_nothing(load):
    process = load(
        """
        import os, sys
        def handler(event, context):
            pid = os.fork()
            if pid == 0:
                if event == "raise": raise ValueError("in the child")
                if event == "exit": sys.exit(4)
                return "child"
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        """
    )
    assert process.invoke("return").json() == 0
    assert process.invoke("raise").json() == 1
    process.pump(lambda: "ValueError: in the child" in process.err)
    assert process.invoke("exit").json() == 4


def test_children_do_not_inherit_the_frames(load):
    process = load(
        """
        import subprocess
        def handler(event, context):
            return subprocess.run(["/bin/ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True).stdout
        """
    )
    assert set(process.invoke().json().split()) <= {"0", "1", "2", "3"}  # 3 is ls's own
    process = load("import os\ndef handler(event, context): return os.popen('readlink /proc/self/fd/4').read()")
    assert process.invoke().json() == ""


def test_threads_left_over_do_not_disturb_the_next_call(load):
    process = load(
        """
        import threading, time
        def work():
            while True: time.sleep(0.001)
        def handler(event, context):
            threading.Thread(target=work).start()
            return event
        """
    )
    assert [process.invoke(i).json() for i in range(20)] == list(range(20))
    assert process.end() == 0


# HTTP


EVENT = "def handler(event, context): return event"


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
        ("x-forwarded-prefix", "/lies"),
    ]
    answer = process.http("PUT", "/a%20b/c?x=1&y=%C3%A9&x=2&z&=e&p+q=+", headers, b'{"k":"\xc3\xa9"}')
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    event = answer.json()
    context = event.pop("requestContext")
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b/c",
        "rawQueryString": "x=1&y=%C3%A9&x=2&z&=e&p+q=+",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "host": "faas.example:8080",
            "user-agent": "curl/8",
            "x-many": "1,2",
            "x-utf8": "grüße",
            "x-forwarded-prefix": "/fn/hello",
        },
        "queryStringParameters": {"x": "1,2", "y": "é", "z": "", "": "e", "p q": " "},
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
    assert (context["stage"], context["routeKey"]) == ("$default", "$default")
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


@pytest.mark.parametrize("query", ["%", "%zz=%", "a=%e9", "%41%=1", "&&=&", "a=%C3%28", "%+1=2"])
def test_a_broken_query_is_no_failure(load, query):
    assert load(EVENT).http("GET", "/?" + query).json()["rawQueryString"] == query


def respond(value):
    return f"def handler(event, context): return {value!r}"


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
        ({"statusCode": 200, "body": "x"}, 200, "application/json", b"x"),
        ({"statusCode": "201", "body": {"a": 1}}, 201, "application/json", b'{"a": 1}'),
        ({"statusCode": 204}, 204, None, b""),
        ({"statusCode": 200.0, "body": None}, 200, None, b""),
        ({"statusCode": 200, "body": "AAH/", "isBase64Encoded": True}, 200, "application/json", b"\0\1\xff"),
        ({"statusCode": 200, "body": b"\0\xff"}, 200, "application/json", b"\0\xff"),
        ({"message": "no status"}, 200, "application/json", b'{"message": "no status"}'),
        ("text", 200, "application/json", b'"text"'),
        (None, 200, "application/json", b"null"),
    ],
)
def test_other_values_are_json_bodies(load, value, status, content_type, output):
    answer = load(respond(value)).http()
    assert (answer.code, answer.status, answer.output) == ("ERR_OK", status, output)
    assert answer.header("content-type") == content_type


@pytest.mark.parametrize(
    "value, error",
    [
        ({"statusCode": "abc"}, "statusCode is 'abc'"),
        ({"statusCode": 99}, "statusCode is 99"),
        ({"statusCode": 600}, "statusCode is 600"),
        ({"statusCode": True}, "statusCode is True"),
        ({"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: b"}}, "header X has a control character"),
        ({"statusCode": 200, "headers": {"X Y": "a"}}, "a header of the answer has the name 'X Y'"),
        ({"statusCode": 200, "headers": {"X=Y": "a"}}, "a header of the answer has the name 'X=Y'"),
        ({"statusCode": 200, "headers": ["X"]}, "the answer's headers is no object"),
        ({"statusCode": 200, "body": "%%%", "isBase64Encoded": True}, "the answer's body is not base64"),
    ],
)
def test_an_answer_that_makes_no_sense_is_bad_answer(load, value, error):
    answer = load(respond(value)).http()
    assert answer.code == "ERR_BAD_ANSWER"
    assert error in answer.error
    assert answer.status == 200 and answer.output == b""


def test_headers_of_framing_are_left_to_the_gateway(load):
    headers = {"Content-Length": "5", "Transfer-Encoding": "chunked", "Connection": "close", "X": "y"}
    answer = load(respond({"statusCode": 200, "headers": headers})).http()
    assert [name for name, _ in answer.head if name.startswith(b"h:")] == [b"h:X"]


# WSGI


def test_wsgi_environ_is_that_of_pep_3333(load):
    process = load(
        """
        import json, sys
        from wsgiref.validate import validator
        def app(environ, start_response):
            got = {k: v for k, v in environ.items() if isinstance(v, (str, bool, tuple))}
            got["input"] = environ["wsgi.input"].read(1000).decode("latin-1")
            got["is_errors"] = hasattr(environ["wsgi.errors"], "write")
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(got).encode()]
        app = validator(app)
        """,
        "wsgi",
    )
    headers = [
        ("host", "h:1"),
        ("content-type", "text/x"),
        ("content-length", "2"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x_a", "spoofed"),
        ("proxy", "http://evil"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-latin", b"\xe9"),
    ]
    got = process.http("POST", "/p%C3%A9?q=%41", headers, b"\xffy").json()
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/fn/hello",
        "PATH_INFO": "/p\xc3\xa9",
        "QUERY_STRING": "q=%41",
        "REQUEST_URI": "/p%C3%A9?q=%41",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.9",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "2",
        "HTTP_HOST": "h:1",
        "HTTP_X_A": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LATIN": "\xe9",
        "HTTP_X_FORWARDED_PREFIX": "/fn/hello",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.run_once": False,
        "input": "\xffy",
        "is_errors": True,
        "FAAS_CALL_ID": "call-2",
    }
    assert {key: got.get(key) for key in expected} == expected
    assert "HTTP_PROXY" not in got and "HTTP_CONTENT_LENGTH" not in got


def test_wsgi_on_invoke_is_a_post_to_the_root(load):
    process = load(
        """
        def app(environ, start_response):
            start_response("404 Not Found", [("X", "y")])
            text = "%(REQUEST_METHOD)s %(SCRIPT_NAME)s|%(PATH_INFO)s %(CONTENT_LENGTH)s " % environ
            return [text.encode(), environ["wsgi.input"].read()]
        """,
        "wsgi",
    )
    answer = process.invoke(b"payload")
    assert answer.output == b"POST |/ 7 payload"
    assert answer.head == []


def test_wsgi_answers_with_write_generators_and_close(load):
    process = load(
        """
        closed = []
        class Parts:
            def __init__(self, environ, start_response):
                write = start_response("201 Created", [("X-A", "1"), ("X-A", "2"), ("Set-Cookie", "a=1")])
                write(b"written ")
            def __iter__(self):
                yield b"one "
                yield b""
                yield b"two"
            def close(self):
                closed.append(1)
                print("closed", len(closed))
        app = Parts
        """,
        "wsgi",
    )
    answer = process.http()
    assert (answer.status, answer.output) == (201, b"written one two")
    assert answer.values("h:X-A") == ["1", "2"]
    process.pump(lambda: process.out == b"closed 1\n")


def test_wsgi_start_response_late_and_again(load):
    process = load(
        """
        import sys
        def app(environ, start_response):
            kind = environ["QUERY_STRING"]
            if kind == "late":
                def parts():
                    start_response("202 Accepted", [])
                    yield b"late"
                return parts()
            if kind == "never": return [b"x"]
            if kind == "none": return []
            start_response("200 OK", [("X", "first")])
            if kind == "twice": start_response("200 OK", [])
            try:
                raise ValueError("inside")
            except ValueError:
                if kind == "sent": start_response.__self__.write(b"x")
                start_response("500 Oops", [("X", "second")], sys.exc_info())
            return [b"error page"]
        """,
        "wsgi",
    )
    assert process.http(uri="/?late").output == b"late"
    answer = process.http(uri="/?replace")
    assert (answer.status, answer.values("h:X"), answer.output) == (500, ["second"], b"error page")
    assert process.http(uri="/?sent").error == "ValueError: inside"
    assert "twice without exc_info" in process.http(uri="/?twice").error
    assert "before start_response" in process.http(uri="/?never").error
    assert "did not call start_response" in process.http(uri="/?none").error


@pytest.mark.parametrize(
    "status, headers, body, code",
    [
        ('"200 OK"', '[("X", "a\\nb")]', '[b""]', "ERR_BAD_ANSWER"),
        ('"abc"', "[]", '[b""]', "ERR_BAD_ANSWER"),
        ("200", "[]", '[b""]', "ERR_EXCEPTION"),
        ('"200 OK"', '[("X", 1)]', '[b""]', "ERR_EXCEPTION"),
        ('"200 OK"', "[]", '["text"]', "ERR_EXCEPTION"),
        ('"200 OK"', "[]", '(b"x" * (1 << 20) for _ in iter(int, 1))', "ERR_OUTPUT"),
    ],
)
def test_wsgi_answers_that_are_wrong(load, status, headers, body, code):
    source = f"def app(environ, start_response):\n    start_response({status}, {headers})\n    return {body}"
    process = load(source, "wsgi", limits={"output_mb": 2})
    assert process.http().code == code
    assert process.http().code == code


# ASGI


ASGI_ECHO = """
    import json
    async def app(scope, receive, send):
        assert scope["type"] == "http", scope["type"]
        message = await receive()
        got = {k: v for k, v in scope.items() if k not in ("headers", "raw_path", "query_string", "state")}
        got["headers"] = [[k.decode(), v.decode("latin-1")] for k, v in scope["headers"]]
        got["raw"] = scope["raw_path"].decode() + "?" + scope["query_string"].decode()
        got["body"] = message["body"].decode("latin-1")
        got["more"] = message["more_body"]
        await send({"type": "http.response.start", "status": 203, "headers": [(b"x-a", b"1"), (b"x-a", b"2")]})
        await send({"type": "http.response.body", "body": json.dumps(got).encode()[:5], "more_body": True})
        await send({"type": "http.response.body", "body": json.dumps(got).encode()[5:]})
"""


def test_asgi_scope_is_http_3(load):
    process = load(ASGI_ECHO, "asgi")
    headers = [("host", "h"), ("x-b", "1"), ("x-b", "2")]
    answer = process.http("POST", "/p%C3%A9?q=%41", headers, b"\xffy")
    assert answer.status == 203
    assert answer.values("h:x-a") == ["1", "2"]
    got = answer.json()
    assert got["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert (got["method"], got["scheme"], got["http_version"]) == ("POST", "http", "1.1")
    assert (got["path"], got["root_path"], got["raw"]) == ("/pé", "/fn/hello", "/p%C3%A9?q=%41")
    assert got["headers"] == [["host", "h"], ["x-b", "1"], ["x-b", "2"], ["x-forwarded-prefix", "/fn/hello"]]
    assert (got["client"], got["server"]) == (["127.0.0.9", 0], ["127.0.0.1", 8080])
    assert (got["body"], got["more"]) == ("\xffy", False)


def test_asgi_on_invoke_is_a_post_to_the_root(load):
    answer = load(ASGI_ECHO, "asgi").invoke(b"payload")
    got = answer.json()
    assert (got["method"], got["path"], got["body"]) == ("POST", "/", "payload")
    assert answer.head == []


def test_asgi_lifespan_starts_keeps_state_and_stops(load):
    process = load(
        """
        import asyncio
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                while True:
                    message = await receive()
                    print(message["type"])
                    if message["type"] == "lifespan.startup":
                        scope["state"]["db"] = "open"
                    await send({"type": message["type"] + ".complete"})
                    if message["type"] == "lifespan.shutdown": return
            scope["state"]["own"] = 1
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": repr(sorted(scope["state"])).encode()})
        """,
        "asgi",
    )
    process.pump(lambda: process.out == b"lifespan.startup\n")
    for _ in range(2):
        assert process.http().output == b"['db', 'own']"
    assert process.end() == 0
    assert process.out == b"lifespan.startup\nlifespan.shutdown\n"


def test_asgi_startup_that_fails_fails_every_call(load):
    process = load(
        """
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})
        """,
        "asgi",
    )
    for _ in range(2):
        assert process.http().error == "RuntimeError: the application's startup failed: no database"


def test_asgi_disconnect_waits_for_the_answer_and_one_loop_is_kept(load):
    process = load(
        """
        import asyncio
        loops = set()
        async def app(scope, receive, send):
            if scope["type"] != "http": raise NotImplementedError
            loops.add(id(asyncio.get_running_loop()))
            await receive()
            gone = asyncio.ensure_future(receive())
            await asyncio.sleep(0.01)
            early = gone.done()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": repr((early, len(loops))).encode()})
            print((await gone)["type"])
        """,
        "asgi",
    )
    for i in range(1, 3):
        assert process.http().output == b"(False, 1)"
        process.pump(lambda: process.out == b"http.disconnect\n" * i)


@pytest.mark.parametrize(
    "body, code, error",
    [
        ("raise ValueError('x')", "ERR_EXCEPTION", "ValueError: x"),
        ("pass", "ERR_EXCEPTION", "returned before its answer was whole"),
        ("await send({'type': 'http.response.body'})", "ERR_EXCEPTION", "before http.response.start"),
        ("await send({'type': 'websocket.send'})", "ERR_EXCEPTION", "cannot be sent here"),
        ("await start(600); await end()", "ERR_BAD_ANSWER", "statusCode is 600"),
        ("await start(200); await start(200)", "ERR_EXCEPTION", "sent twice"),
        ("await start(200); await end(); await end()", "ERR_EXCEPTION", None),
        ("await start(200)\n    while True: await end(b'x' * 100000, True)", "ERR_OUTPUT", "over the limit"),
        ("await start(200); await end('text')", "ERR_EXCEPTION", "TypeError: the body has str"),
    ],
)
def test_asgi_answers_that_are_wrong(load, body, code, error):
    source = f"""
async def app(scope, receive, send):
    if scope["type"] != "http": raise NotImplementedError
    async def start(status): await send({{"type": "http.response.start", "status": status, "headers": []}})
    async def end(body=b"", more=False): await send({{"type": "http.response.body", "body": body, "more_body": more}})
    {body}
"""
    process = load(source, "asgi", limits={"output_mb": 1})
    answer = process.http()
    if error is None:  # the answer was whole before the error, which is the log's
        assert answer.code == "ERR_OK"
        process.pump(lambda: "after the last one" in process.err)
        return
    assert answer.code == code
    assert error in answer.error


def test_the_application_itself_says_whether_it_is_wsgi_or_asgi(load):
    asgi = """
        class App:
            async def __call__(self, scope, receive, send):
                if scope["type"] != "http": raise NotImplementedError
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"asgi"})
        app = App()
    """
    wsgi = """
        import functools
        class App:
            def run(self, extra, environ, start_response):
                start_response("200 OK", [])
                return [b"wsgi"]
            def __call__(self, environ, start_response): return self.run(1, environ, start_response)
        app = App()
    """
    assert load(asgi, "wsgi").http().output == b"asgi"
    assert load(wsgi, "asgi").http().output == b"wsgi"
    assert load(wsgi + "\n        app = App().__call__", "asgi").http().output == b"wsgi"


# Scripts


def test_a_script_is_the_main_program(script):
    code, out, err = script(
        """
        import os, sys
        print(__name__, __file__, sys.argv, sys.modules["__main__"].__dict__ is globals())
        print(sys.stdin.read(), os.environ["FAAS_FUNCTION"], os.environ["FAAS_CALL_ID"], os.environ["A"])
        print(sorted(os.listdir("/proc/self/fd")), open("/proc/self/comm").read().strip())
        if __name__ == "__main__":
            print("guarded")
        """,
        b"payload \xc3\xa9",
        env={"A": "b"},
    )
    assert (code, err) == (0, "")
    assert out.decode() == (
        "__main__ hello.py ['hello'] True\n"
        "payload é hello call-77 b\n"
        "['0', '1', '2', '3'] worker-python\n"  # 3 is listdir's own
        "guarded\n"
    )


def test_a_script_claims_its_call_and_answers_no_frame(start):
    process = start()
    assert run_script(process, "print('x')") == 0
    assert process.started() == 77
    assert not process.received[process.answers]


def test_a_script_sees_an_http_call_as_cgi(script):
    head = http_head("POST", "/a%20b?q=1", [("content-type", "text/x"), ("content-length", "3"), ("x-a", "1")])
    source = "import os, json\nprint(json.dumps(dict(os.environ)))"
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


def test_bytes_pass_through_a_script_unchanged(script):
    every = bytes(range(256)) * 16
    for source in (
        "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())",
        "import sys\nsys.stdin.reconfigure(newline='\\n')\nprint(sys.stdin.read(), end='')",
    ):
        assert script(source, every) == (0, every, "")


def test_a_large_output_is_whole(script):
    code, out, _ = script("import sys\nprint('x' * (5 << 20))\nsys.exit(0)")
    assert (code, len(out)) == (0, (5 << 20) + 1)


@pytest.mark.parametrize(
    "source, code, out, err",
    [
        ("import sys; print('a'); sys.exit(3)", 3, b"a\n", ""),
        ("import sys; sys.exit('sorry')", 1, b"", "sorry\n"),
        ("exit()", 0, b"", ""),
        ("import os; print('a'); os._exit(4)", 4, b"a\n", ""),
        ("import atexit; atexit.register(print, 'last'); print('first')", 0, b"first\nlast\n", ""),
        ("import threading; threading.Timer(0.05, print, ['later']).start(); print('now')", 0, b"now\nlater\n", ""),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM, b"", ""),
        ("import sys; sys.excepthook = lambda *a: print('hook', a[0].__name__); 1 / 0", 1, b"hook ZeroDivisionError\n", ""),
        ("import os\npid = os.fork()\nprint('child' if pid == 0 else os.waitpid(pid, 0)[1])", 0, b"child\n0\n", ""),
        ("name = input(); print('hi', name)", 0, b"hi \n", None),
    ],
)
def test_how_scripts_end(script, source, code, out, err):
    payload = b"\n" if "input" in source else b""
    assert script(source, payload)[:2] == (code, out)
    if err is not None:
        assert script(source, payload)[2] == err


def test_a_scripts_traceback_names_its_file_alone(script):
    code, out, err = script("def f():\n    return {}['key']\nprint('before')\nf()\n")
    assert (code, out) == (1, b"before\n")
    assert re.sub(r"^ *[~^]+\n", "", err, flags=re.M) == (
        "Traceback (most recent call last):\n"
        '  File "hello.py", line 4, in <module>\n    f()\n'
        "  File \"hello.py\", line 2, in f\n    return {}['key']\n"
        "KeyError: 'key'\n"
    )
    code, _, err = script("print('x'\nfoo bar")
    assert code == 1
    assert err.startswith('  File "hello.py", line 1')
    assert "SyntaxError" in err and "faas" not in err


def test_a_script_prints_line_by_line(start):
    process = start()
    process.send(process.load_frame("print('now')\nimport time\ntime.sleep(60)", "script") + process.call_frame())
    process.pump(lambda: process.out == b"now\n")


def test_a_source_in_another_encoding_and_with_a_mark(script):
    assert script("# -*- coding: latin-1 -*-\nprint('é')".encode("latin-1"))[1] == "é\n".encode()
    assert script(b"\xef\xbb\xbfprint('mark')")[1] == b"mark\n"


def test_a_spare_that_gets_no_call_ends(start):
    process = start()
    process.send(process.load_frame("print('x')", "script"))
    assert process.end() == 0
    assert process.out == b""


# Examples of every entry style, as a user writes them


EXAMPLES = {
    "handler": ("def handler(event, context):\n    return {'hello': event['name']}\n", b'{"hello": "Ada"}'),
    "async handler": (
        "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0)\n    return event['name']\n",
        b'"Ada"',
    ),
    "wsgi": (
        "import json\ndef app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [b'Hello ', json.load(environ['wsgi.input'])['name'].encode()]\n",
        b"Hello Ada",
    ),
    "asgi": (
        "import json\nasync def app(scope, receive, send):\n    assert scope['type'] == 'http'\n"
        "    name = json.loads((await receive())['body'])['name']\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'Hello ' + name.encode()})\n",
        b"Hello Ada",
    ),
}


@pytest.mark.parametrize("style", EXAMPLES)
def test_an_example_of_each_style(load, style):
    source, output = EXAMPLES[style]
    process = load(source, style.rpartition(" ")[2])
    for _ in range(3):
        assert process.invoke({"name": "Ada"}).output == output


def test_an_example_of_a_script(script):
    source = "import json, sys\nprint('Hello', json.load(sys.stdin)['name'])"
    assert script(source, b'{"name": "Ada"}') == (0, b"Hello Ada\n", "")

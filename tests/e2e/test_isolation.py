"""isolation=call: a fresh process for every call of a JavaScript or Python function."""


import pytest

import faas

SOURCES = {
    "python": r'''
import os, signal, subprocess, sys, time
calls = 0
def handler(event, context):
    global calls
    calls += 1
    if event == "sleep":
        time.sleep(60)
    if event == "oom":
        held = []
        while True:
            held.append(bytearray(1 << 20))
    if event == "exit":
        sys.exit(3)
    if event == "exit at once":
        os._exit(4)
    if event in ("SEGV", "KILL"):
        os.kill(os.getpid(), getattr(signal, "SIG" + event))
        time.sleep(60)
    if event == "leave":
        subprocess.Popen(["/bin/sleep", "4711"], start_new_session=True)
        with open("/tmp/left", "w") as file:
            file.write("left")
    if event == "large":
        return "x" * 3000000
    assert os.environ["FAAS_CALL_ID"] == context.aws_request_id
    return [calls, os.getpid(), os.path.exists("/tmp/left")]
''',
    "js": r'''
const fs = require("fs");
let calls = 0;
exports.handler = async (event, context) => {
  calls++;
  if (event === "sleep") for (;;);
  if (event === "oom") { const held = []; for (;;) held.push(new Array(1 << 16).fill(held.length)); }
  if (event === "exit") process.exit(3);
  if (event === "exit at once") process.reallyExit(4);
  if (event === "SEGV" || event === "KILL") {
    process.kill(process.pid, "SIG" + event);
    await new Promise((done) => setTimeout(done, 60000));
  }
  if (event === "leave") {
    require("child_process").spawn("/bin/sleep", ["4711"], { detached: true, stdio: "ignore" }).unref();
    fs.writeFileSync("/tmp/left", "left");
  }
  if (event === "large") return "x".repeat(3000000);
  if (process.env.FAAS_CALL_ID !== context.awsRequestId) throw new Error("another call's id");
  return [calls, process.pid, fs.existsSync("/tmp/left")];
};
''',
}


@pytest.fixture(params=SOURCES)
def function(request, system):
    return system.shared(SOURCES[request.param], request.param, isolation="call", timeout_ms=3000, memory_mb=64)


def invoke(function, what):
    return function.invoke(b'"%s"' % what.encode(), timeout_s=90)


def value(answer):
    import json

    return json.loads(answer.output)


def test_no_state_and_no_process_is_shared(function):
    calls = 60 if function.info["lang"] == "python" else 12
    answers = [value(invoke(function, "")) for _ in range(calls // 2)]
    answers += [value(answer) for answer in faas.parallel(calls // 2, lambda i: invoke(function, ""))]
    assert [count for count, _, _ in answers] == [1] * calls
    assert len({pid for _, pid, _ in answers}) == calls


@pytest.mark.parametrize(
    "what, status, cause",
    [
        ("sleep", 504, "timeout"),
        ("oom", 507, "oom"),
        ("exit", 500, "exit"),
        ("exit at once", (500, 502), ("crash", "exit")),
        ("SEGV", 502, "crash"),
        ("KILL", 502, "crash"),
    ],
)
def test_each_end_has_its_cause_and_the_next_call_works(function, what, status, cause):
    answer = invoke(function, what)
    answer.assert_error(answer.status if isinstance(status, tuple) else status, cause)
    assert not isinstance(status, tuple) or answer.status in status
    assert value(invoke(function, ""))[0] == 1


def test_nothing_is_left_behind(system, function):
    assert value(invoke(function, "leave"))[0] == 1
    assert value(invoke(function, ""))[2] is False
    faas.wait_until(lambda: not system.procs_given("sleep", "4711"), 5, "the call's child gone")


def test_a_large_answer_is_whole(function):
    assert value(invoke(function, "large")) == "x" * 3000000


def test_it_is_described(system, function):
    assert function.describe()["isolation"] == "call"
    assert system.shared(SOURCES["js"], "js").describe()["isolation"] == "process"
    assert system.shared(SOURCES["js"], "js", isolation="process").describe()["isolation"] == "process"
    script = system.shared("print(1)", "python")
    assert script.describe()["isolation"] == "call"


def test_what_it_may_be(system):
    system.try_deploy("def handler(e, c): pass", "python", isolation="thread").assert_error(
        400, "bad_request", "isolation=thread", "process, call"
    )
    c = "int main(void) { return 0; }"
    system.try_deploy(c, "c", isolation="process").assert_error(400, "bad_request", "isolation=process")
    assert system.shared(c, "c", isolation="call").describe()["isolation"] == "call"


def test_it_survives_a_restart(start_system):
    system = start_system()
    function = system.deploy(SOURCES["python"], "python", isolation="call")
    system.stop()
    system.start()
    assert function.describe()["isolation"] == "call"
    assert [value(invoke(function, ""))[0] for _ in range(3)] == [1, 1, 1]

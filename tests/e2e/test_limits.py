"""Every limit in every runtime is answered with its own status and cause, and the next call works.

One function a runtime, told by its payload what to do wrong.
"""

import json
import signal
import threading
import time
from pathlib import Path

import pytest

import faas

C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int sink;

static int stack(int n) {
    volatile char frame[1024];
    frame[0] = (char)n;
    return stack(n + 1) + frame[0];
}

int main(void) {
    char what[32] = "";
    if (!fgets(what, sizeof what, stdin)) return 9;
    printf("before\n");
    fflush(stdout);
    if (!strcmp(what, "ok")) return 0;
    if (!strcmp(what, "exit")) return 3;
    if (!strcmp(what, "abort")) abort();
    if (!strcmp(what, "unreachable")) __builtin_trap();
    if (!strcmp(what, "pointer")) return *(volatile int *)0xfffffff0u;
    if (!strcmp(what, "divide")) { volatile int zero = 0; return (sink + 7) / zero; }
    if (!strcmp(what, "stack")) return stack(0);
    if (!strcmp(what, "loop")) for (;;) sink++;
    if (!strcmp(what, "output")) for (;;) puts("0123456789012345678901234567890123456789");
    if (!strcmp(what, "memory"))
        for (;;) {
            char *more = malloc(1 << 20);
            if (!more) abort();
            memset(more, 1, 1 << 20);
            sink += more[4096];
        }
    if (!strcmp(what, "null")) {
        int got = 0;
        char *volatile more;
        while ((more = malloc(1 << 20))) got++;
        printf("%s\n", got > 8 && got < 64 ? "some" : "wrong");
        return 0;
    }
    return 9;
}
"""

CPP = r"""
#include <cstdlib>
#include <iostream>
#include <new>
#include <string>

static volatile int sink;
static int stack(int n) { volatile char frame[1024]; frame[0] = char(n); return stack(n + 1) + frame[0]; }

int main() {
    std::string what;
    std::cin >> what;
    std::cout << "before" << std::endl;
    if (what == "ok") return 0;
    if (what == "exit") return 3;
    if (what == "abort") std::abort();
    if (what == "stack") return stack(0);
    if (what == "loop") for (;;) sink = sink + 1;
    if (what == "output") for (;;) std::cout << "0123456789012345678901234567890123456789\n";
    if (what == "memory") {
        for (;;) {
            char *more = new (std::nothrow) char[1 << 20];
            if (!more) std::abort();
            for (int i = 0; i < 1 << 20; i += 512) more[i] = 1;
            sink = more[4096];
        }
    }
    return 9;
}
"""

RUST = r"""
use std::io::Read;

// Reads and writes that no optimizer may leave out.
fn opaque(x: u64) -> u64 {
    unsafe { std::ptr::read_volatile(&x) }
}

fn stack(n: u64) -> u64 {
    let mut frame = [n; 128];
    unsafe { std::ptr::write_volatile(&mut frame[5], n) };
    if opaque(n) == u64::MAX { 0 } else { stack(n + 1) + frame[(n % 128) as usize] }
}

fn main() {
    let mut what = String::new();
    std::io::stdin().read_to_string(&mut what).unwrap();
    println!("before");
    match what.as_str() {
        "ok" => {}
        "exit" => std::process::exit(3),
        "abort" => panic!("on purpose"),
        "stack" => println!("{}", stack(0)),
        "loop" => loop { opaque(0); },
        "output" => loop { println!("0123456789012345678901234567890123456789"); },
        "memory" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop { all.push(vec![1u8; 1 << 20]); }
        }
        _ => std::process::exit(9),
    }
}
"""

JS_WHAT = r"""
function sink(n) { return 1 + sink(n + 1); }
async function act(what) {
  if (what === 'ok') return 'fine';
  if (what === 'exit') process.exit(3);
  if (what === 'exit0') process.exit(0);
  if (what === 'throw') throw new TypeError('on purpose');
  if (what === 'reject') return Promise.reject(new Error('on purpose'));
  if (what === 'late') { setTimeout(() => { throw new Error('on purpose'); }, 1); await new Promise(() => setTimeout(() => {}, 5000)); }
  if (what === 'stack') return sink(0);
  if (what === 'loop') for (;;);
  if (what === 'never') await new Promise(() => setInterval(() => {}, 1000));
  if (what === 'output') return 'x'.repeat(8 << 20);
  if (what === 'memory') { const all = []; for (;;) all.push(new Array(100000).fill({ a: 1 }).map((v, i) => ({ i }))); }
  if (what === 'buffers') { const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1)); }
  if (what === 'abort') process.abort();
  if (what === 'kill') { process.kill(process.pid, 'SIGKILL'); await new Promise(() => setTimeout(() => {}, 5000)); }
  if (what === 'fork') {
    await new Promise((_, reject) => {
      for (let i = 0; i < 200; i++) require('child_process').spawn('/bin/sleep', ['30']).on('error', reject);
    });
  }
  return 'unknown';
}
"""
JS_HANDLER = JS_WHAT + "exports.handler = (event) => act(event);\n"
JS_FETCH = (
    "import { createRequire } from 'module';\nconst require = createRequire('file:///');\n" + JS_WHAT
    + "export default { async fetch(request) { return new Response(await act(await request.text())); } };\n"
)  # fmt: skip
JS_SCRIPT = (
    JS_WHAT + "console.log('before');\nconst what = require('fs').readFileSync(0, 'utf8');\n"
    "if (what === 'output') for (;;) console.log('x'.repeat(100000));\n"
    "act(what).then((text) => console.log(text));\n"
)

PY_WHAT = r"""
import os, sys, threading, time

def stack(n):
    return stack(n + 1) + 1

def act(what):
    if what == "ok": return "fine"
    if what == "exit": sys.exit(3)
    if what == "exit0": sys.exit(0)
    if what == "throw": raise ValueError("on purpose")
    if what == "stack": return stack(0)
    if what == "loop":
        while True: pass
    if what == "never": time.sleep(1000)
    if what == "deaf":
        while True:
            try:
                while True: time.sleep(1000)
            except BaseException: pass
    if what == "output": return "x" * (8 << 20)
    if what == "memory":
        all = []
        while True: all.append(bytearray(b"1" * (4 << 20)))
    if what == "memory_error": raise MemoryError
    if what == "_exit": os._exit(3)
    if what == "abort": os.abort()
    if what == "kill": os.kill(os.getpid(), 9)
    if what == "fork":
        while True:
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
    return "unknown"
"""
PY_HANDLER = PY_WHAT + "\ndef handler(event, context):\n    return act(event)\n"
PY_SCRIPT = PY_WHAT + (
    "\nprint('before', flush=True)\nwhat = sys.stdin.read()\n"
    "while what == 'output':\n    print('x' * 100000)\nprint(act(what))\n"
)

RUNTIMES = {
    "c": ("c", C),
    "cpp": ("cpp", CPP),
    "rust": ("rust", RUST),
    "js-handler": ("js", JS_HANDLER),
    "js-fetch": ("js", JS_FETCH),
    "js-script": ("js", JS_SCRIPT),
    "py-handler": ("python", PY_HANDLER),
    "py-script": ("python", PY_SCRIPT),
}

WASM, SCRIPTS = ("c", "cpp", "rust"), ("js-script", "py-script")
JS, PY = ("js-handler", "js-fetch", "js-script"), ("py-handler", "py-script")

CASES = [
    # what, runtimes, status, cause
    ("exit", RUNTIMES, 500, "exit"),
    ("exit0", ("js-handler", "js-fetch", "py-handler"), 500, "exit"),
    ("abort", WASM, 500, "trap"),
    ("unreachable", ("c",), 500, "trap"),
    ("pointer", ("c",), 500, "trap"),
    ("divide", ("c",), 500, "trap"),
    ("stack", WASM, 500, "trap"),
    ("output", RUNTIMES, 500, "output"),
    ("memory", RUNTIMES, 507, "oom"),
    ("memory_error", PY, 507, "oom"),
    ("buffers", JS, 507, "oom"),
    ("throw", ("js-handler", "js-fetch", "py-handler"), 500, "exception"),
    ("throw", SCRIPTS, 500, ("exit", "exception")),
    ("reject", ("js-handler", "js-fetch"), 500, "exception"),
    ("late", ("js-handler", "js-fetch"), 500, "exception"),
    ("stack", ("js-handler", "js-fetch", "py-handler"), 500, "exception"),
    ("stack", SCRIPTS, 500, ("exit", "exception")),
    ("abort", JS + PY, 502, "crash"),
    ("kill", JS + PY, 502, "crash"),
    ("_exit", ("py-handler",), 502, "crash"),
    ("_exit", ("py-script",), 500, "exit"),
    ("fork", ("js-handler",) + PY, 500, "processes"),
]
ROWS = [(name, what, status, cause) for what, names, status, cause in CASES for name in names]


def bomb(system, name):
    lang, source = RUNTIMES[name]
    memory_mb = 32 if name in WASM else 64 if name in PY else 128
    processes = 16 if name in PY else 64
    timeout_ms = 4000 if name == "cpp" else 20000  # one slow compile serves test_endless too
    return system.shared(source, lang, memory_mb=memory_mb, output_mb=1, processes=processes, timeout_ms=timeout_ms)


@pytest.mark.parametrize("name, what, status, cause", ROWS, ids=["-".join(row[:2]) for row in ROWS])
def test_limit(system, name, what, status, cause):
    function = bomb(system, name)
    value = function.invoke(what).assert_error(status, cause)
    assert isinstance(value["output"], str), value
    if name in WASM + SCRIPTS and what != "output":
        assert value["output"].startswith("before\n"), value
    good = function.invoke("ok")
    assert good.output == ("before\n" if name in WASM else "before\nfine\n" if name in SCRIPTS else
                           '"fine"' if name.endswith("handler") else "fine"), good  # fmt: skip


@pytest.mark.parametrize("name, what", [(name, "throw") for name in ("js-handler", "js-fetch", "py-handler")])
def test_exception_says_what_it_was(system, name, what):
    error = bomb(system, name).invoke(what).assert_error(500, "exception", "on purpose")["error"]
    assert ("ValueError" if name == "py-handler" else "TypeError" if what == "throw" else "") in error


def test_exit_says_the_code(system):
    for name in ("c", "py-handler", "py-script", "js-script"):
        assert "3" in bomb(system, name).invoke("exit").assert_error(500, "exit")["error"]


def test_malloc_returns_null_and_the_rest_is_the_programs_own_affair(system):
    assert bomb(system, "c").invoke("null").output == "before\nsome\n"


def test_output_over_the_limit_is_cut_not_hidden(system):
    value = bomb(system, "c").invoke("output").assert_error(500, "output")
    assert value["output"].startswith("before\n") and len(value["output"]) <= 1024 * 1024


def test_module_that_needs_more_than_its_memory(system):
    source = "static volatile char big[64 << 20];\nint main(void) { big[sizeof big - 1] = 1; return big[5]; }\n"
    answer = system.try_deploy(source, "c", memory_mb=16)
    if answer.status == 201:
        answer = faas.Function(system, answer).invoke()
    assert answer.status in (422, 507), answer
    assert system.deploy(source, "c", memory_mb=128).invoke().output == ""


TIMEOUTS = [(name, "loop") for name in RUNTIMES] + [
    (name, "never") for name in ("js-handler", "js-fetch", "js-script", "py-handler", "py-script")
] + [("py-handler", "deaf"), ("py-script", "deaf")]  # fmt: skip


@pytest.mark.parametrize("name, what", TIMEOUTS, ids=list(map("-".join, TIMEOUTS)))
def test_endless(system, name, what):
    lang, source = RUNTIMES[name]
    function = bomb(system, name) if name == "cpp" else system.shared(source, lang, timeout_ms=400)
    good = function.invoke("ok")
    assert good.status == 200, good
    start = time.monotonic()
    value = function.invoke(what).assert_error(504, "timeout")
    assert 0.35 < time.monotonic() - start < 8
    if name in WASM + SCRIPTS:
        assert value["output"].startswith("before\n"), value
    assert function.invoke("ok").output == good.output


def test_failures_on_the_http_route_are_the_same(system):
    bomb(system, "c").http("POST", body="exit").assert_error(500, "exit")
    raises = system.shared("def handler(event, context):\n    raise KeyError('x')\n", "python")
    raises.http("GET").assert_error(500, "exception", "KeyError")
    crashes = system.shared("import os\ndef handler(event, context):\n    os._exit(3)\n", "python")
    crashes.http("GET").assert_error(502, "crash")


def test_timeout_leaves_no_process_of_the_function(system):
    source = (
        "import subprocess, time\ndef handler(event, context):\n"
        "    subprocess.Popen(['/bin/sleep', '987'])\n    time.sleep(100)\n"
    )
    function = system.deploy(source, "python", timeout_ms=500)
    answer = function.invoke()
    answer.assert_error(504, "timeout")
    # By its argument: other functions of this instance may have sleepers of their own.
    faas.wait_until(lambda: not system.procs_given("sleep", "987"), 5, "child of the function gone")


def test_timeout_counts_from_the_start_of_the_call_not_from_the_queue(system):
    source = "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return 1\n"
    function = system.deploy(source, "python", concurrency=1, timeout_ms=1500)
    function.invoke()
    answers = faas.parallel(5, lambda i: function.invoke())  # the last waits two seconds
    assert [a.status for a in answers] == [200] * 5, answers


# --- concurrency ----------------------------------------------------------------------------------------------------

MEASURE = {
    "python": "import time\ndef handler(event, context):\n    start = time.time()\n    time.sleep(0.2)\n"
              "    return [start, time.time()]\n",
    "js": "exports.handler = async () => { const start = Date.now() / 1000;\n"
          "  await new Promise((done) => setTimeout(done, 200)); return [start, Date.now() / 1000]; };\n",
    "c": "#include <stdio.h>\n#include <time.h>\n"
         "static double now(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t);\n"
         "  return (double)t.tv_sec + (double)t.tv_nsec / 1e9; }\n"
         "int main(void) { double start = now(); while (now() < start + 0.2);\n"
         '  printf("[%.6f, %.6f]", start, now()); return 0; }\n',
}  # fmt: skip


def most_at_once(spans):
    events = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    most = at = 0
    for _, step in events:
        at += step
        most = max(most, at)
    return most


@pytest.mark.parametrize("lang", MEASURE)
@pytest.mark.parametrize("limit", [1, 2])
def test_concurrency_limit_queues(system, lang, limit):
    function = system.shared(MEASURE[lang], lang, concurrency=limit)
    function.invoke()
    answers = faas.parallel(8, lambda i: function.invoke())
    assert [a.status for a in answers] == [200] * 8, answers
    assert most_at_once([json.loads(a.output) for a in answers]) <= limit


def test_full_queue_answers_429_at_once(system):
    source = "import time\ndef handler(event, context):\n    time.sleep(1.5)\n    return 1\n"
    function = system.deploy(source, "python", concurrency=1)
    request = f"POST /invoke?fn={function.name} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    connections, refused = [], []
    try:
        while not refused and len(connections) < 4000:
            batch = [system.raw(60) for _ in range(100)]
            connections += batch
            for raw in batch:
                raw.send(request)
                raw.socket.settimeout(0.001)
            for raw in batch:
                try:
                    raw.socket.recv(1, 2)  # MSG_PEEK
                except (TimeoutError, BlockingIOError):
                    continue
                raw.socket.settimeout(20)
                answer = raw.answer()
                if answer.status != 200:
                    refused.append(answer)
        assert refused, f"{len(connections)} calls wait and none was refused"
        refused[0].assert_error(429, "limit")
        assert int(refused[0].header("Retry-After")) >= 0
    finally:
        for raw in connections:
            raw.close()
    # their clients are gone: the queue empties, and the function lives
    faas.wait_until(lambda: system.metric("faas_queue_depth", function=function.name) == 0, 30, "queue empty")
    assert function.invoke().output == "1"


def test_no_worker_is_503_after_the_queue_time(start_system):
    """The server cannot start another one: it is stopped, and its only worker killed."""
    system = start_system(FAAS_WORKERS=1, FAAS_WORKERS_MAX=1, FAAS_QUEUE_MS=400)
    hello = system.deploy(Path("c/hello.c"), "c")
    assert hello.invoke().status == 200
    server, worker = system.pid_of("server"), system.pids("worker")[0]
    faas.kill(server, signal.SIGSTOP)
    faas.kill(worker)
    try:
        start = time.monotonic()
        answer = hello.invoke()
        answer.assert_error(503, "unavailable")
        assert answer.header("Retry-After") and 0.3 < time.monotonic() - start < 3
        faas.wait_until(lambda: system.request("GET", "/readyz").status == 503, 3, "not ready")
        assert system.request("GET", "/healthz").status == 200
    finally:
        faas.kill(server, signal.SIGCONT)
    system.wait_ready()
    assert hello.invoke().output == "Hello from FAAS!\n"


def test_call_waits_for_a_worker_that_comes_back(start_system):
    system = start_system(FAAS_WORKERS=1, FAAS_WORKERS_MAX=1, FAAS_QUEUE_MS=20000)
    hello = system.deploy(Path("c/hello.c"), "c")
    server, worker = system.pid_of("server"), system.pids("worker")[0]
    faas.kill(server, signal.SIGSTOP)
    faas.kill(worker)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(hello.invoke()))
    thread.start()
    try:
        faas.wait_until(lambda: system.metric("faas_queue_depth") >= 1, 10, "call queued")
        assert not answers
    finally:
        faas.kill(server, signal.SIGCONT)
    thread.join(15)
    assert answers[0].output == "Hello from FAAS!\n"

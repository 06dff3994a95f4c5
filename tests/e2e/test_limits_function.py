"""Limits of a function: set at its deploy or later, capped by the server, shown, and the same in every runtime."""

import json
import os
import threading
import time

import pytest

import faas

LIMITS = {"timeout_ms": 10000, "memory_mb": 128, "concurrency": 0, "output_mb": 16, "processes": 64, "tmp_mb": 64,
          "cpu_ms": 0, "payload_kb": 0, "queue": 1024}  # fmt: skip
OTHERS = {"timeout_ms": 1234, "memory_mb": 77, "concurrency": 3, "output_mb": 2, "processes": 9, "tmp_mb": 5,
          "cpu_ms": 432, "payload_kb": 21, "queue": 17}  # fmt: skip

ECHO = {
    "c": '#include <stdio.h>\nint main(void) { int c; while ((c = getchar()) != EOF) putchar(c); return 0; }\n',
    "js": "export default { async fetch(request) { return new Response(await request.text()); } };\n",
    "python": "import sys\nprint(sys.stdin.read(), end='')\n",
}


def patch(function, **limits):
    query = "&".join(f"{name}={value}" for name, value in limits.items())
    return function.system.request("PATCH", f"/function/{function.name}?{query}")


# --- set and shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ECHO)
def test_defaults_and_what_was_set_are_shown(system, lang):
    assert system.shared(ECHO[lang], lang).describe()["limits"] == LIMITS
    function = system.deploy(ECHO[lang], lang, **OTHERS)
    assert function.describe()["limits"] == OTHERS
    listed = system.request("GET", "/functions").json["functions"]
    assert next(f for f in listed if f["name"] == function.name)["limits"] == OTHERS


@pytest.mark.parametrize("name, value", [
    ("timeout_ms", 0), ("timeout_ms", 900001), ("memory_mb", 1025), ("concurrency", 10001), ("output_mb", 257),
    ("output_mb", 0), ("processes", 0), ("processes", 1025), ("tmp_mb", 4097), ("cpu_ms", 86400001), ("cpu_ms", -1),
    ("payload_kb", 16385), ("queue", 0), ("queue", 1025),
])  # fmt: skip
def test_value_outside_of_its_range_is_400_and_names_the_cap(system, name, value):
    answer = system.try_deploy(ECHO["python"], "python", **{name: value})
    answer.assert_error(400, "bad_request", f"{name}={value}", "FAAS_")
    function = system.shared(ECHO["python"], "python")
    patch(function, **{name: value}).assert_error(400, "bad_request", f"{name}={value}", "FAAS_")
    assert function.describe()["limits"] == LIMITS


@pytest.mark.parametrize("value", ["", "x", "1.5", "1e3", "0x10", "99999999999999999999"])
def test_value_that_is_no_whole_number_is_400(system, value):
    for name in LIMITS:
        answer = system.try_deploy(ECHO["python"], "python", **{name: value})
        answer.assert_error(400, "bad_request", f"{name}={value}")


def test_unknown_limit_is_400_and_lists_the_known(system):
    answer = system.try_deploy(ECHO["python"], "python", timeout=5)
    answer.assert_error(400, "bad_request", "'timeout'", *LIMITS)
    function = system.shared(ECHO["python"], "python")
    patch(function, lang="c").assert_error(400, "bad_request", "'lang'", *LIMITS)


CAPS = {"FAAS_TIMEOUT_MAX_MS": 5000, "FAAS_MEMORY_MAX_MB": 64, "FAAS_CONCURRENCY_MAX": 7, "FAAS_OUTPUT_MAX_MB": 3,
        "FAAS_FORKS_MAX": 8, "FAAS_TMP_MAX_MB": 9, "FAAS_CPU_MAX_MS": 2000, "FAAS_BODY_MB": 1,
        "FAAS_QUEUE_MAX": 11}  # fmt: skip
CAPPED = {"timeout_ms": 5000, "memory_mb": 64, "concurrency": 7, "output_mb": 3, "processes": 8, "tmp_mb": 9,
          "cpu_ms": 2000, "payload_kb": 1024, "queue": 11}  # fmt: skip


def test_caps_of_the_server_are_settings(start_system):
    system = start_system(**CAPS)
    function = system.deploy(ECHO["python"], "python")
    # "No limit" is the cap; the largest body is the server's affair already.
    assert function.describe()["limits"] == {**CAPPED, "payload_kb": 0}
    assert system.deploy(ECHO["python"], "python", **CAPPED).describe()["limits"] == CAPPED
    for (name, cap), variable in zip(CAPPED.items(), CAPS, strict=True):
        answer = system.try_deploy(ECHO["python"], "python", **{name: cap + 1})
        answer.assert_error(400, "bad_request", f"{name}={cap + 1}", variable)
    unlimited = system.deploy(ECHO["python"], "python", cpu_ms=0, concurrency=0)
    assert unlimited.describe()["limits"]["cpu_ms"] == 2000 and unlimited.describe()["limits"]["concurrency"] == 7


def test_caps_that_become_lower_hold_for_what_is_there(start_system):
    system = start_system()
    function = system.deploy(SLEEP["python"], "python", timeout_ms=60000, memory_mb=512)
    before = function.describe()["limits"]
    system.stop()
    system.env.update(CAPS, FAAS_TIMEOUT_MAX_MS=100)
    system.start()
    capped = {**CAPPED, "timeout_ms": 100, "payload_kb": 0}
    assert function.describe()["limits"] == capped
    function.invoke().assert_error(504, "timeout", "100 ms")
    answer = patch(function, tmp_mb=3)
    assert answer.status == 200 and answer.json["limits"] == {**capped, "tmp_mb": 3}
    system.stop()
    for name in CAPS:
        system.env.pop(name)
    system.start()  # what was asked for is not forgotten
    assert function.describe()["limits"] == {**before, "tmp_mb": 3}
    assert function.invoke().status == 200


# --- changed without new code -----------------------------------------------------------------------------------------


def test_change_keeps_version_and_the_other_limits(system):
    function = system.deploy(ECHO["c"], "c", output_mb=2)
    answer = patch(function, timeout_ms=777, queue=5)
    assert answer.status == 200 and answer.json["id"] == function.id, answer
    assert answer.json["limits"] == {**LIMITS, "output_mb": 2, "timeout_ms": 777, "queue": 5}
    described = function.describe()
    assert described["limits"] == answer.json["limits"] and described["version"] == 1
    assert function.invoke("x").output == "x"


def test_change_survives_a_restart_and_kill(start_system):
    system = start_system()
    function = system.deploy(ECHO["c"], "c")
    assert patch(function, timeout_ms=777).status == 200
    system.kill_all()
    system.start()
    assert function.describe()["limits"]["timeout_ms"] == 777
    assert function.invoke("x").output == "x"


def test_change_of_one_that_is_not_there(system):
    system.request("PATCH", "/function/nobody?timeout_ms=5").assert_error(404, "not_found")


def test_changes_at_the_same_time_are_all_kept(system):
    function = system.deploy(ECHO["python"], "python")
    names = [name for name in OTHERS if name != "queue"]
    answers = faas.parallel(len(names), lambda i: patch(function, **{names[i]: OTHERS[names[i]]}))
    assert [a.status for a in answers] == [200] * len(names), answers
    assert function.describe()["limits"] == {**OTHERS, "queue": 1024}


SLEEP = {
    "c": "#include <time.h>\nint main(void) { struct timespec t = {0, 300000000}; nanosleep(&t, 0); return 0; }\n",
    "js": "exports.handler = () => new Promise((done) => setTimeout(done, 300, 1));\n",
    "python": "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return 1\n",
}


@pytest.mark.parametrize("lang", SLEEP)
def test_changed_deadline_holds_for_calls_that_start_after_and_not_for_those_before(system, lang):
    function = system.deploy(SLEEP[lang], lang)
    assert function.invoke().status == 200
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function.invoke()))
    thread.start()
    faas.wait_until(lambda: any(w["function"] == function.name and w["in_flight"] or w["state"] == "busy"
                                for w in system.request("GET", "/workers").json["workers"]), 5, "call runs")  # fmt: skip
    assert patch(function, timeout_ms=50).status == 200
    function.invoke().assert_error(504, "timeout")
    thread.join()
    assert answers[0].status == 200, answers
    assert patch(function, timeout_ms=5000).status == 200
    assert function.invoke().status == 200


def test_changed_memory_is_that_of_the_next_process(system):
    source = "def handler(event, context):\n    return len(bytearray(int(event) << 20))\n"
    function = system.deploy(source, "python", memory_mb=32)
    function.invoke("60").assert_error(507, "oom")
    assert patch(function, memory_mb=128).status == 200
    assert function.invoke("60").output == str(60 << 20)
    assert patch(function, memory_mb=32).status == 200
    function.invoke("60").assert_error(507, "oom")


# --- payload ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ECHO)
def test_payload_over_its_limit_is_413_and_names_it(system, lang):
    function = system.deploy(ECHO[lang], lang, payload_kb=4)
    fits, over = "x" * 4096, "x" * 4097
    assert function.invoke(fits).output == fits
    function.invoke(over).assert_error(413, "too_large", "payload_kb", "4097", function.name)
    answer = function.http("POST", "/", over)
    answer.assert_error(413, "too_large", "payload_kb")
    assert function.http("POST", "/", fits).body == fits.encode()
    assert function.describe()["calls"] == 2


# --- CPU time ---------------------------------------------------------------------------------------------------------

# Told by the payload: "burn MS" uses so much CPU time, "sleep MS" none, "fork MS" lets a child do it, "fled MS" a
# grandchild in a session of its own, "threads MS" two threads.
PY_CPU = """
import os, sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
def act(text):
    what, amount = text.split()
    seconds = int(amount) / 1000
    if what == "burn": burn(seconds)
    if what == "sleep": time.sleep(seconds)
    if what == "fork":
        if os.fork() == 0:
            burn(seconds)
            os._exit(0)
        os.wait()
    if what == "fled":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                burn(seconds)
            os._exit(0)
        os.wait()
        time.sleep(seconds)
    if what == "threads":
        threads = [threading.Thread(target=burn, args=(seconds / 2,)) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    return "done"
"""
JS_CPU = """
const act = async (text) => {
  const [what, amount] = text.split(' ');
  const from = process.cpuUsage();
  const spent = () => { const used = process.cpuUsage(from); return (used.user + used.system) / 1000; };
  if (what === 'burn') while (spent() < Number(amount));
  if (what === 'sleep') await new Promise((done) => setTimeout(done, Number(amount)));
  if (what === 'fork') require('child_process').spawnSync(process.execPath,
    ['-e', `const t = Date.now(); while (Date.now() < t + ${amount});`]);
  return 'done';
};
"""
C_CPU = r"""
#include <stdio.h>
#include <string.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6; }
int main(void) {
    char what[16];
    int ms;
    if (scanf("%15s %d", what, &ms) != 2) return 9;
    puts("before");
    fflush(stdout);
    if (!strcmp(what, "sleep")) nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, 0);
    for (double end = now() + ms; !strcmp(what, "burn") && now() < end;);
    puts("done");
    return 0;
}
"""
CPU = {
    "c": ("c", C_CPU),
    "js-handler": ("js", JS_CPU + "exports.handler = (event) => act(event);\n"),
    "js-fetch": ("js", JS_CPU.replace("require('child_process')", "(await import('node:child_process'))")
                 + "export default { async fetch(r) { return new Response(await act(await r.text())); } };\n"),
    "js-script": ("js", JS_CPU + "act(require('fs').readFileSync(0, 'utf8')).then(console.log);\n"),
    "py-handler": ("python", PY_CPU + "def handler(event, context):\n    return act(event)\n"),
    "py-script": ("python", PY_CPU + "print(act(sys.stdin.read()))\n"),
}  # fmt: skip
OVER = [(name, what) for name in CPU for what in ("burn", "fork", "fled", "threads")
        if what == "burn" or name.startswith("py") or (what == "fork" and name.startswith("js"))]  # fmt: skip


@pytest.mark.parametrize("name, what", OVER, ids=list(map("-".join, OVER)))
def test_cpu_limit(system, name, what):
    lang, source = CPU[name]
    function = system.shared(source, lang, cpu_ms=400, timeout_ms=20000)
    good = function.invoke("sleep 1")
    assert good.status == 200, good
    start = time.monotonic()
    function.invoke(f"{what} 15000").assert_error(504, "cpu", "cpu_ms", "400")
    # Others compute as well: what is certain is that it was not the deadline.
    assert time.monotonic() - start < 15
    assert function.invoke("sleep 1").output == good.output


@pytest.mark.parametrize("name", CPU)
def test_sleep_uses_no_cpu_time_and_calls_do_not_add_up(system, name):
    lang, source = CPU[name]
    function = system.shared(source, lang, cpu_ms=400, timeout_ms=20000)
    assert function.invoke("sleep 1000").status == 200
    for _ in range(5):
        answer = function.invoke("burn 120")
        assert answer.status == 200 and "done" in answer.output, answer


@pytest.mark.parametrize("lie", [0, 1 << 40])
def test_cpu_limit_of_one_that_lies_about_what_it_runs(system, lie):
    """The page says which call has started; the process may write what it likes."""
    source = (
        "import os, time\ndef handler(event, context):\n    end = time.monotonic() + 15\n"
        f"    while time.monotonic() < end: os.pwrite(5, ({lie}).to_bytes(8, 'little'), 1024)\n    return 1\n"
    )
    function = system.deploy(source, "python", cpu_ms=400, timeout_ms=20000)
    start = time.monotonic()
    function.invoke().assert_error(504, "cpu")
    assert time.monotonic() - start < 15


def test_no_cpu_limit_without_one(system):
    lang, source = CPU["py-handler"]
    assert system.shared(source, lang, timeout_ms=20000).invoke("burn 900").output == '"done"'


def test_cpu_limit_may_be_set_later(system):
    lang, source = CPU["py-handler"]
    function = system.deploy(source, lang, timeout_ms=20000)
    assert function.invoke("burn 600").status == 200
    assert patch(function, cpu_ms=100).status == 200
    function.invoke("burn 6000").assert_error(504, "cpu")


# --- queue ------------------------------------------------------------------------------------------------------------


def test_queue_over_its_length_is_429(system):
    function = system.deploy(SLEEP["python"], "python", concurrency=1, queue=3)
    function.invoke()
    answers = faas.parallel(12, lambda i: function.invoke())
    refused = [a for a in answers if a.status != 200]
    assert 3 <= len(answers) - len(refused) <= 5, answers
    for answer in refused:
        answer.assert_error(429, "limit", "queue")
        assert answer.header("Retry-After")


# --- what a call has started ------------------------------------------------------------------------------------------

# The grandchild is in a session of its own, its parent is gone, and it does not listen to SIGTERM.
FLEE = """
import os, signal, time
def flee(after):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.execv('/bin/sleep', ['sleep', '%s'])
        os._exit(0)
    os.wait()
    time.sleep(after)
"""
FLEERS = {
    "handler": "def handler(event, context):\n    flee(30)\n",
    "script": "flee(30)\n",
}


def sleepers(argument):
    """Of the whole machine: who fled is perhaps nobody's descendant that we know."""
    found = []
    for proc in faas.all_procs():
        if proc.comm == "sleep" and proc.state not in "ZX":
            try:
                with open(f"/proc/{proc.pid}/cmdline", "rb") as file:
                    found += [proc.pid] * (argument.encode() in file.read().split(b"\0"))
            except OSError:
                pass
    return found


@pytest.mark.parametrize("entry", FLEERS)
def test_deadline_takes_whoever_fled_into_a_session_of_its_own(system, entry):
    argument = f"{1000 + os.getpid() % 9000}.{len(entry)}"
    function = system.deploy(FLEE % argument + FLEERS[entry], "python", timeout_ms=700)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function.invoke()))
    thread.start()
    faas.wait_until(lambda: sleepers(argument), 5, "the grandchild runs")
    thread.join()
    left = sleepers(argument)
    answers[0].assert_error(504, "timeout")
    assert not left, "alive when the 504 had arrived"


def test_end_of_a_script_takes_whoever_fled(system):
    argument = f"{1000 + os.getpid() % 9000}.99"
    function = system.deploy(FLEE % argument + "flee(0)\nprint('done')\n", "python")
    assert function.invoke().output == "done\n"
    faas.wait_until(lambda: not sleepers(argument), 2, "the grandchild is gone")


def test_helpers_of_a_handler_end_with_its_process(system):
    """A handler's process serves further calls, and may keep helpers from one to the next; they end with it."""
    argument = f"{1000 + os.getpid() % 9000}.98"
    function = system.deploy(FLEE % argument + "def handler(event, context):\n    flee(0)\n    return 1\n", "python")
    assert function.invoke().output == "1"
    faas.wait_until(lambda: sleepers(argument), 5, "the helper runs")
    assert function.delete().status == 204
    faas.wait_until(lambda: not sleepers(argument), 5, "the helper is gone with its function")


def test_isolated_handler_leaves_nobody_behind(system):
    argument = f"{1000 + os.getpid() % 9000}.97"
    source = FLEE % argument + "def handler(event, context):\n    flee(0)\n    return 1\n"
    function = system.deploy(source, "python", isolation="call")
    assert function.invoke().output == "1"
    assert not sleepers(argument)

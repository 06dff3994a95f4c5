"""Processes of Node.js and Python functions under load: several calls are on their way to one at a time."""

import collections
import re
import threading
import time

import pytest

import faas

# What they print goes to the function's log. The payload "slow" takes three seconds.
SOURCES = {
    "python": "import sys, time\ndef handler(event, context):\n    print('ran', event)\n"
              "    time.sleep(3 if event == 'slow' else 0)\n    return event\n",
    "js": "exports.handler = (event) => { console.log('ran', event);\n"
          "  if (event === 'slow') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);\n"
          "  return event; };\n",
}  # fmt: skip
NAMES = {"python": "worker-python", "js": "worker-node"}
CALLERS = 24


class Callers:
    """Each on a connection of its own, one call after the other with a payload that no other call has."""

    def __init__(self, system, function, enough):
        self.system, self.path, self.enough = system, f"/invoke?fn={function.name}", enough
        self.answers = {}  # payload: answer and seconds that it took
        self.failure = None
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(CALLERS)]

    def run(self, index):
        try:
            with self.system.raw(60) as raw:
                count = 0
                while not self.enough(count):
                    count += 1
                    payload = f"call-{index}-{count}-"
                    start = time.monotonic()
                    answer = raw.request("POST", self.path, b'"%s"' % payload.encode())
                    self.answers[payload] = answer, time.monotonic() - start
        except Exception as error:
            self.failure = error

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(120)
        assert self.failure is None, self.failure
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.mark.parametrize("lang", SOURCES)
def test_a_slow_call_holds_up_no_other(system, lang):
    function = system.deploy(SOURCES[lang], lang)
    function.invoke()
    with Callers(system, function, lambda count: count == 150) as callers:
        faas.wait_until(lambda: len(callers.answers) > 40 * CALLERS, 60, "a busy system")
        slow = faas.parallel(2, lambda i: function.invoke(b'"slow"'))
    assert [answer.status for answer in slow] == [200, 200], slow
    assert len(callers.answers) == 150 * CALLERS
    for payload, (answer, seconds) in callers.answers.items():
        assert answer.output == f'"{payload}"'
        assert seconds < 2.5, f"{payload} waited for a slow one: {seconds} s"


@pytest.mark.parametrize("lang", SOURCES)
def test_a_killed_process_costs_one_call_at_most_and_none_runs_twice(system, lang):
    function = system.deploy(SOURCES[lang], lang)
    function.invoke()
    done = threading.Event()
    kills = 0
    with Callers(system, function, lambda _: done.is_set()) as callers:
        try:
            for _ in range(15):
                seen = len(callers.answers)
                faas.wait_until(lambda: len(callers.answers) > seen + 200, 60, "calls after a kill")
                for pid in system.pids(NAMES[lang]):
                    kills += faas.kill(pid) is not False
        finally:
            done.set()
    failed = [answer for answer, _ in callers.answers.values() if answer.status != 200]
    for answer in failed:
        answer.assert_error(502, "crash")
    assert len(failed) <= kills
    assert kills >= 15
    good = [payload for payload, (answer, _) in callers.answers.items() if answer.status == 200]
    log = system.log_dir / "functions" / f"{function.name}.log"

    def ran():
        return collections.Counter(re.findall(r"ran (call-\d+-\d+-)", log.read_text(errors="replace")))

    assert max(ran().values()) == 1
    faas.wait_until(lambda: not set(good) - set(ran()), 10, "all that succeeded in the log")


SLEEP = {
    "python": "import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return 1\n",
    "js": "exports.handler = () => new Promise((done) => setTimeout(done, 20, 1));\n",
    "script": "import time\ntime.sleep(0.02)\nprint(1)\n",
}


def test_all_functions_together_have_so_many_processes(start_system):
    system = start_system(FAAS_PROCESSES_MAX=3)
    functions = [system.deploy(SLEEP["python"], "python") for _ in range(8)]
    most = 0
    done = threading.Event()

    def watch():
        nonlocal most
        while not done.is_set():
            workers = system.request("GET", "/workers").json["workers"]
            most = max(most, sum(worker["runtime"] == "python" for worker in workers))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(3):
            assert [function.invoke().status for function in functions] == [200] * 8
            answers = faas.parallel(16, lambda i: functions[i % 8].invoke())
            assert [answer.status for answer in answers] == [200] * 16, answers
    finally:
        done.set()
        watcher.join()
    assert 1 <= most <= 3


@pytest.mark.parametrize("kind", SLEEP)
def test_a_flood_of_one_function_leaves_a_process_to_another(start_system, kind):
    system = start_system(FAAS_PROCESSES_MAX=2)
    lang = "js" if kind == "js" else "python"
    loud, quiet = (system.deploy(SLEEP[kind], lang) for _ in range(2))
    done = threading.Event()
    failed = []

    def loud_calls():
        return system.metric("faas_calls_total", function=loud.name)

    def flood():
        while not done.is_set():
            answer = loud.invoke()
            if answer.status != 200:
                failed.append(answer)

    callers = [threading.Thread(target=flood) for _ in range(12)]
    for caller in callers:
        caller.start()
    try:
        faas.wait_until(lambda: loud_calls() > 20, 30, "a flood")
        for _ in range(3):
            start = time.monotonic()
            assert quiet.invoke().status == 200
            assert time.monotonic() - start < faas.PATIENCE * 2
            calls = loud_calls()
            faas.wait_until(lambda: loud_calls() > calls + 20, 30, "the flood going on")
    finally:
        done.set()
        for caller in callers:
            caller.join()
    assert not failed, failed[0]


def test_a_python_function_has_room_for_threads(system):
    source = (
        "import threading\ndef handler(event, context):\n    go = threading.Event()\n"
        "    threads = [threading.Thread(target=go.wait) for _ in range(50)]\n"
        "    for thread in threads: thread.start()\n"
        "    alive = threading.active_count()\n    go.set()\n"
        "    for thread in threads: thread.join()\n    return alive\n"
    )
    assert system.deploy(source, "python").invoke().output == "51"


def test_spares_are_there_for_runtimes_that_have_functions(start_system):
    system = start_system()
    function = system.deploy(SOURCES["python"], "python")
    faas.wait_until(lambda: system.procs("spare-python"), 10, "a spare for the function")
    assert function.invoke().status == 200
    assert not system.procs("spare-node")
    system.stop()
    system.start()
    faas.wait_until(lambda: system.procs("spare-python"), 10, "a spare after a restart")
    assert not system.procs("spare-node")
    system.deploy(SOURCES["js"], "js")
    faas.wait_until(lambda: system.procs("spare-node"), 10, "a spare for the other runtime")


@pytest.mark.parametrize("lang", SOURCES)
def test_a_call_after_a_long_pause_has_all_its_time(system, lang):
    """It was answered 504 when the clock looked at it before its process had started it: the pause counted, too."""
    function = system.deploy(SOURCES[lang], lang, timeout_ms=1000)
    assert function.invoke(b'"warm"').status == 200
    payload = b'"%s"' % (b"x" * (2 << 20))  # takes some looks of the clock to arrive
    paused = time.monotonic()
    faas.wait_until(lambda: time.monotonic() - paused > 3.3, 6, "longer than what a call and its start may take")
    assert [function.invoke(payload).status for _ in range(5)] == [200] * 5

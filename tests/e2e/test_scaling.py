"""As many WASM workers as the load needs, between FAAS_WORKERS and FAAS_WORKERS_MAX: quick up, slow down, no flapping,
and no call pays for it."""

import threading
import time
from pathlib import Path

import pytest

import faas

SLEEP = (
    "#include <stdio.h>\n#include <unistd.h>\nint main(void) { unsigned ms = 0; "
    'if (scanf("%u", &ms) != 1) return 2;\n  usleep(ms * 1000); return 0; }\n'
)
LEAST, MOST, DOWN_S = 2, 8, 1


@pytest.fixture
def scaled(start_system):
    def start(least=LEAST, most=MOST, down_s=DOWN_S, **env):
        system = start_system(FAAS_WORKERS=least, FAAS_WORKERS_MAX=most, FAAS_SCALE_DOWN_S=down_s, **env)
        system.sleep = system.deploy(SLEEP, "c")
        system.hello = system.deploy(Path("c/hello.c"), "c")
        return system

    return start


class Load:
    """So many clients, each with one call after the other, until end(), which wants every call to have succeeded."""

    def __init__(self, function, payload, clients, tolerate=()):
        self.function, self.payload, self.tolerate = function, payload, tolerate
        self.done, self.failed, self.over = 0, [], threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def run(self):
        raw = None
        while not self.over.is_set():
            try:
                raw = raw or self.function.system.raw(60)
                answer = raw.request("POST", f"/invoke?fn={self.function.name}", self.payload)
                ok = answer.status == 200
            except (OSError, AssertionError, ValueError) as error:
                raw, answer, ok = None, type(error), type(error) in self.tolerate
            with self.lock:
                self.done += 1
                if not ok and answer not in self.tolerate and getattr(answer, "status", 0) not in self.tolerate:
                    self.failed.append(answer)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.failed, (len(self.failed), self.failed[:3])


def scaling(system):
    """{what: value} of the faas_scaling_ metrics; changes as up and down."""
    found = {}
    for sample in system.samples():
        if sample.name.startswith("faas_scaling_"):
            found[sample.labels.get("direction") or sample.name[len("faas_scaling_") :]] = sample.value
    return found


def target(system):
    return scaling(system)["target"]


def numbers(system):
    """The WASM workers' numbers that serve, in order."""
    rows = system.request("GET", "/workers").json["workers"]
    return sorted(row["id"] for row in rows if row["runtime"] == "wasm" and row["state"] != "retiring")


def wait_for(system, count, timeout_s=20):
    """So many workers are wanted, there, and shown."""
    faas.wait_until(lambda: target(system) == count and numbers(system) == list(range(count))
                    and len(system.pids("worker")) == count, timeout_s * faas.PATIENCE,
                    lambda: f"{count} workers; {scaling(system)}, {numbers(system)}\n{system.tail()}")  # fmt: skip


def test_the_metrics_say_what_is_wanted_and_why(scaled):
    system = scaled()
    assert scaling(system) == {"target": LEAST, "least": LEAST, "most": MOST, "up": 0, "down": 0,
                               "utilisation_ratio": 0, "wait_seconds": 0, "idle_cpus": 0}  # fmt: skip
    with Load(system.sleep, b"50", 16):
        faas.wait_until(lambda: scaling(system)["utilisation_ratio"] > 0.5, 10, "workers are busy")
        faas.wait_until(lambda: scaling(system)["wait_seconds"] > 0.01, 10, "calls wait")
    faas.wait_until(lambda: scaling(system)["utilisation_ratio"] == 0, 10, "nobody is busy")
    assert scaling(system)["wait_seconds"] == 0


def test_a_step_is_followed_at_once_and_left_slowly(scaled):
    system = scaled(down_s=2)
    start = time.monotonic()
    with Load(system.sleep, b"50", MOST) as load:
        wait_for(system, MOST, 5)
        grown = time.monotonic() - start
        before, since = load.done, time.monotonic()
        # Two workers answer 40 calls a second, eight 160.
        faas.wait_until(lambda: load.done - before >= 160, 30, "160 calls")
        assert 160 / (time.monotonic() - since) > 80
        assert target(system) == MOST
    end = time.monotonic()
    faas.wait_until(lambda: target(system) < MOST, 30, "one fewer")
    assert time.monotonic() - end > 1.8
    wait_for(system, LEAST, 40)
    seen = scaling(system)
    assert grown < 3 * faas.PATIENCE and 2 <= seen["up"] <= 4 and 4 <= seen["down"] <= 6, (grown, seen)
    assert system.hello.invoke().output == "Hello from FAAS!\n"
    assert system.metric("faas_worker_restarts_total") == 0


def test_it_takes_what_is_needed_and_no_more(scaled):
    system = scaled(most=32)
    with Load(system.sleep, b"40", 6):
        faas.wait_until(lambda: target(system) >= 6, 10, "six workers")
        until = time.monotonic() + 3
        faas.wait_until(lambda: time.monotonic() > until or target(system) > 10, 10, "some time")
        assert 6 <= target(system) <= 10, scaling(system)


def test_a_sawtooth_does_not_make_it_flap(scaled):
    system = scaled(down_s=3)
    for _ in range(8):
        with Load(system.sleep, b"50", MOST) as load:
            faas.wait_until(lambda: load.done >= 60, 20, "some calls")
        faas.wait_until(lambda: scaling(system)["utilisation_ratio"] == 0, 10, "nobody is busy")
    seen = scaling(system)
    assert 1 <= seen["up"] <= 4 and seen["down"] <= 1, seen


def test_a_spike_is_followed_once(scaled):
    system = scaled()
    # Two workers would take more than two seconds for these.
    answers = faas.parallel(100, lambda i: system.sleep.invoke(b"50"))
    assert {answer.status for answer in answers} == {200}
    ups = scaling(system)["up"]
    assert 1 <= ups <= 4
    wait_for(system, LEAST)
    seen = scaling(system)
    assert seen["up"] == ups and seen["down"] <= 6, seen


def test_equal_bounds_never_change(scaled):
    system = scaled(2, 2)
    pids = system.pids("worker")
    with Load(system.sleep, b"20", 16) as load:
        faas.wait_until(lambda: load.done >= 200, 60, "some calls")
        assert system.pids("worker") == pids
    seen = scaling(system)
    assert (seen["up"], seen["down"], seen["target"], seen["most"]) == (0, 0, 2, 2)


def test_a_flood_of_short_calls_gets_no_more_workers(scaled):
    system = scaled(down_s=60)
    injector = faas.subprocess.run([faas.BIN / "load_injector", system.hello.name, "64", "500"], capture_output=True,
                                   env=faas.clean_env(FAAS_URL=system.url), timeout=300)  # fmt: skip
    assert injector.returncode == 0, injector.stdout
    assert scaling(system)["up"] == 0, system.tail()


def test_a_call_is_not_cut_off_by_a_step_down(scaled):
    system = scaled(1, 3)
    for _ in range(3):
        with Load(system.sleep, b"20", 6):
            wait_for(system, 3)
        long_call = Load(system.sleep, b"4000", 1)
        faas.wait_until(lambda: target(system) == 2, 10 * faas.PATIENCE, "one fewer")
        long_call.end()
    assert system.metric("faas_calls_crashed_total") == 0


def test_traffic_goes_on_while_workers_come_and_go(scaled):
    system = scaled()
    with Load(system.hello, b"", 4), Load(system.sleep, b"5", 1):
        for _ in range(3):
            with Load(system.sleep, b"50", MOST):
                faas.wait_until(lambda: target(system) >= 6, 10 * faas.PATIENCE, "six workers")
            faas.wait_until(lambda: target(system) <= 4, 60 * faas.PATIENCE, lambda: f"four\n{system.tail()}")
    assert system.metric("faas_calls_crashed_total") == 0
    assert system.metric("faas_worker_restarts_total") == 0


def test_a_worker_that_was_killed_comes_back_with_its_number(scaled):
    system = scaled(down_s=60)
    with Load(system.sleep, b"50", MOST, tolerate=(502,)):
        wait_for(system, MOST)
        for number in (MOST - 1, MOST - 2, 0):
            rows = {row["id"]: row["pid"] for row in system.request("GET", "/workers").json["workers"]}
            faas.kill(rows[number])
            faas.wait_until(lambda: rows[number] not in system.pids("worker"), 5, "killed")
            wait_for(system, MOST)
    assert system.metric("faas_worker_restarts_total") == 3
    assert system.metric("faas_calls_crashed_total") <= 3
    assert scaling(system)["down"] == 0


def test_a_balancer_that_comes_back_finds_and_keeps_the_workers(scaled):
    system = scaled(down_s=2)
    with Load(system.sleep, b"50", MOST):
        wait_for(system, MOST)
        pids = sorted(system.pids("worker"))
        for _ in range(3):
            killed = system.pid_of("load_balancer")
            faas.kill(killed)
            faas.wait_until(lambda: system.pid_of("load_balancer") != killed, 10, "a new one")
            faas.wait_until(lambda: system.metric("faas_part_up", part="load_balancer") == 1, 10, "connected")
            wait_for(system, MOST)
        assert sorted(system.pids("worker")) == pids
        assert scaling(system)["up"] == 0
    wait_for(system, LEAST, 60)


def test_a_server_that_comes_back_starts_with_the_least(scaled):
    system = scaled(down_s=2)
    with Load(system.sleep, b"50", MOST):
        wait_for(system, MOST)
        old = system.pids("worker")
        faas.kill(system.pid_of("server"))
        faas.wait_until(lambda: target(system) < MOST, 10, lambda: f"the least\n{system.tail()}")
        wait_for(system, MOST, 30)
        assert not set(old) & set(system.pids("worker"))
    wait_for(system, LEAST, 60)


def test_a_gateway_that_comes_back_gets_all_workers(scaled):
    system = scaled(down_s=2)
    with Load(system.sleep, b"50", MOST, tolerate=(ConnectionResetError, BrokenPipeError, AssertionError, ValueError)):
        wait_for(system, MOST)
        pids = sorted(system.pids("worker"))
        killed = system.pid_of("api_gateway")
        faas.kill(killed)
        faas.wait_until(lambda: system.pid_of("api_gateway") != killed, 10, "a new one")
        wait_for(system, MOST)
        assert sorted(system.pids("worker")) == pids
    wait_for(system, LEAST, 60)
    assert system.sleep.invoke(b"1").status == 200


def test_a_function_s_own_limit_is_no_reason_for_more_workers(scaled):
    system = scaled()
    limited = system.deploy(SLEEP, "c", concurrency=1)
    with Load(limited, b"20", 8) as load:
        faas.wait_until(lambda: load.done >= 60, 60, "some calls")
    assert scaling(system)["up"] == 0, system.tail()


def test_more_than_the_table_holds_is_refused(start_process):
    for wrong in ("65", "1"):
        process = start_process([faas.BIN / "load_balancer", "--workers", "2", "--workers-max", wrong], faas.clean_env())
        assert process.wait() == 2
        assert "workers" in process.text(), process.text()

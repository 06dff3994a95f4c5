"""RR, FIFO and WEIGHTED, each proven by what the workers received (faas_worker_calls_total)."""

import threading
import time
from pathlib import Path

import pytest

import faas

SLOW = (
    "#include <stdio.h>\n#include <time.h>\nint main(void) { struct timespec a, b; int ms = 0; "
    'if (scanf("%d", &ms) != 1) return 2; clock_gettime(CLOCK_MONOTONIC, &a);\n'
    "  do clock_gettime(CLOCK_MONOTONIC, &b);\n"
    "  while ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < ms);\n  return 0; }\n"
)


@pytest.fixture
def four(start_system):
    def start(strategy, **env):
        system = start_system(FAAS_STRATEGY=strategy, FAAS_WORKERS=4, FAAS_WORKERS_MAX=4, **env)
        faas.wait_until(lambda: len(system.worker_calls()) == 4, 5, "four workers in the metrics")
        system.hello = system.deploy(Path("c/hello.c"), "c")
        return system

    return start


def received(system, calls, connections=1):
    """How many of so many calls each worker got, by number."""
    before = system.worker_calls()

    def client(_):
        with system.raw(30) as raw:
            for _ in range(calls // connections):
                assert raw.request("POST", f"/invoke?fn={system.hello.name}").status == 200

    faas.parallel(connections, client)
    after = system.worker_calls()
    return [int(after[str(i)] - before.get(str(i), 0)) for i in range(len(after))]


class Load:
    """Keeps a function busy for so long, in the background."""

    def __init__(self, function, payload, count=1):
        self.answers = []
        self.threads = [threading.Thread(target=lambda: self.answers.append(function.invoke(payload)))
                        for _ in range(count)]  # fmt: skip
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join(60)
        assert [a.status for a in self.answers] == [200] * len(self.threads), self.answers


def burning(system):
    """The worker numbers whose processes burn CPU now."""
    by_pid = {row["pid"]: row for row in system.request("GET", "/workers").json["workers"]}

    def ticks():
        return {pid: int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])
                for pid in system.pids("worker")}  # fmt: skip

    before = ticks()
    time.sleep(0.15)
    after = ticks()
    return [pid for pid in after if pid in by_pid and after[pid] - before.get(pid, 0) >= 3]


def test_rr_gives_each_worker_the_same(four):
    system = four("RR")
    assert received(system, 400) == [100] * 4
    got = received(system, 400, 8)
    assert sum(got) == 400 and max(got) - min(got) <= 8, got


def test_fifo_keeps_the_fewest_workers_busy(four):
    system = four("FIFO")
    assert received(system, 200) == [200, 0, 0, 0]
    got = received(system, 400, 8)  # how the rest is spread depends on who else uses the machine
    assert sum(got) == 400 and got[0] >= 50, got


def test_fifo_takes_the_lowest_free_worker(four):
    """While worker 0 is busy with a slow call, worker 1 gets all."""
    system = four("FIFO")
    slow = system.deploy(SLOW, "c")
    slow.invoke("1")
    load = Load(slow, "2500")
    faas.wait_until(lambda: burning(system), 5, "a worker is busy")
    assert received(system, 100) == [0, 100, 0, 0]
    load.join()


def test_weighted_by_equal_weights_is_even(four):
    system = four("WEIGHTED")
    got = received(system, 400)
    assert sum(got) == 400 and max(got) - min(got) <= 4, got


def test_weighted_by_weights(four):
    """Each gets its share, 8 : 4 : 2 : 1."""
    system = four("WEIGHTED", FAAS_WEIGHTS="8,4,2,1")
    got = received(system, 1500)
    assert all(abs(calls - share) <= 4 for calls, share in zip(got, [800, 400, 200, 100])), got


def test_weighted_by_weights_under_load(four):
    """With more calls at once than the weights add up to it is the load that counts: a heavy worker that gets less of
    a busy machine's time is given less. What is left is that the heavy two have more than the light two."""
    system = four("WEIGHTED", FAAS_WEIGHTS="8,4,2,1")
    got = received(system, 1600, 32)
    assert sum(got) == 1600 and got[0] + got[1] > 1.1 * (got[2] + got[3]) and got[0] > got[3] > 0, got


def test_weighted_spares_a_slow_worker(four):
    system = four("WEIGHTED")
    slow = system.deploy(SLOW, "c")
    slow.invoke("1")
    load = Load(slow, "4000")
    faas.wait_until(lambda: burning(system), 5, "a worker is busy")
    got = received(system, 300)
    load.join()
    assert sum(got) >= 300 and sorted(got)[0] <= 2, got  # the busy one had its slow call, and next to nothing more


@pytest.mark.parametrize("strategy", ["RR", "FIFO", "WEIGHTED"])
def test_slow_call_does_not_hold_up_those_behind_it(four, strategy):
    system = four(strategy)
    slow = system.deploy(SLOW, "c")
    slow.invoke("1")
    load = Load(slow, "3000")
    faas.wait_until(lambda: burning(system), 5, "a worker is busy")
    slowest = 0
    for _ in range(60):
        begun = time.monotonic()
        assert system.hello.invoke().status == 200
        slowest = max(slowest, time.monotonic() - begun)
    load.join()
    assert slowest < 1.0 * faas.PATIENCE, slowest


@pytest.mark.parametrize("strategy", ["RR", "FIFO", "WEIGHTED"])
def test_workers_that_come_and_go(four, strategy):
    """Killed one after the other under load: every call is answered, and all four take part in the end."""
    system = four(strategy)
    stop, statuses = threading.Event(), []

    def client():
        with system.raw(30) as raw:
            while not stop.is_set():
                statuses.append(raw.request("POST", f"/invoke?fn={system.hello.name}").status)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    kills = 12
    for _ in range(kills):
        victim = faas.wait_until(lambda: system.pids("worker"), 5, "a worker")[0]
        faas.kill(victim)
        faas.wait_until(lambda: victim not in system.pids("worker") and len(system.pids("worker")) == 4, 5, "replaced")
    stop.set()
    for thread in threads:
        thread.join()
    crashed = statuses.count(502)
    print(f"{len(statuses)} calls, {kills} kills, {crashed} crashed")
    assert statuses.count(200) + crashed == len(statuses) and crashed <= 2 * kills
    faas.wait_until(lambda: system.metric("faas_workers", state="ready") == 4, 5, "four ready")
    got = received(system, 400)
    if strategy == "RR":
        assert got == [100] * 4
    elif strategy == "FIFO":
        assert got == [400, 0, 0, 0]
    else:
        assert max(got) - min(got) <= 40, got


def test_switch_while_running(four):
    system = four("RR")
    assert received(system, 100) == [25] * 4
    answer = system.request("PUT", "/strategy", "FIFO")
    assert answer.status == 200 and answer.json["ok"] is True
    faas.wait_until(lambda: received(system, 40) == [40, 0, 0, 0], 3, "FIFO")
    assert system.request("PUT", "/strategy", "WEIGHTED\n").status == 200
    faas.wait_until(lambda: max(received(system, 40)) <= 12, 3, "WEIGHTED")
    assert system.request("PUT", "/strategy", "RR").status == 200
    faas.wait_until(lambda: received(system, 100) == [25] * 4, 3, "RR")


def test_switched_strategy_survives_the_load_balancer(four):
    system = four("RR")
    system.request("PUT", "/strategy", "FIFO")
    faas.wait_until(lambda: received(system, 40) == [40, 0, 0, 0], 3, "FIFO")
    old = system.pid_of("load_balancer")
    faas.kill(old)
    faas.wait_until(lambda: system.platform_pids().get("load_balancer") not in (None, old), 5, "started again")
    system.wait_ready()
    faas.wait_until(lambda: received(system, 40) == [40, 0, 0, 0], 5, "FIFO still")


def test_switch_under_load_loses_no_call(four):
    system = four("RR")
    stop, statuses = threading.Event(), []

    def client():
        with system.raw(30) as raw:
            while not stop.is_set():
                statuses.append(raw.request("POST", f"/invoke?fn={system.hello.name}").status)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for strategy in ("FIFO", "WEIGHTED", "RR") * 5:
        assert system.request("PUT", "/strategy", strategy).status == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses and set(statuses) == {200}

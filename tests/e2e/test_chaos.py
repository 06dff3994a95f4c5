"""Calls from 64 connections, mixed over C, JavaScript and Python, while a worker is killed every 200 ms and the load
balancer every second: every call gets exactly one answer, right or 502 crash, about one crash a kill; and afterwards
nothing is left over. The normal run makes 10,000 calls. All 100,000:

    pytest -m soak -s tests/e2e/test_chaos.py
"""

import os
import random
import time
from pathlib import Path

import pytest

import chaos_client
import faas

# A millisecond each, so that a kill finds a call running more often than not.
ECHO_JS = "exports.handler = (event) => new Promise((done) => setTimeout(done, 1, event));\n"
ECHO_PY = "import time\ndef handler(event, context):\n    time.sleep(0.001)\n    return event\n"


def inventory(system):
    """What a leak would make grow: processes by name, descriptors and shared mappings of each part."""
    counts = {"processes": len(system.procs()), "dev/shm": len(os.listdir("/dev/shm"))}
    for comm, pid in system.platform_pids().items():
        counts[f"{comm} descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
        counts[f"{comm} memfds"] = Path(f"/proc/{pid}/maps").read_text().count("/memfd:")
    return counts


def killer(system, is_running, rng):
    """Kills until the calls are done; how many workers and balancers it killed."""
    workers = balancers = 0
    next_worker = next_balancer = time.monotonic()
    while is_running():
        now = time.monotonic()
        if now >= next_worker:
            next_worker = max(next_worker + 0.2, now)
            victims = system.pids(*faas.WORKERS)
            workers += bool(victims) and faas.kill(rng.choice(victims))
        if now >= next_balancer:
            next_balancer = max(next_balancer + 1.0, now)
            victim = system.platform_pids().get("load_balancer")
            balancers += bool(victim) and faas.kill(victim)
        time.sleep(0.005)
    return workers, balancers


def chaos(system, calls):
    seed = int.from_bytes(os.urandom(4), "little")
    functions = [system.deploy(Path("c/echo.c"), "c").name, system.deploy(ECHO_JS, "js").name,
                 system.deploy(ECHO_PY, "python").name]  # fmt: skip

    def run(count):
        _, is_running, finish = chaos_client.start(system.address, functions, count, 64)
        return is_running, finish

    def counted(status):
        return sum(system.metric("faas_calls_total", function=name, status=status) for name in functions)

    _, finish = run(3000)  # as many processes as the load needs, before anything is counted
    good, crashed, wrong, _ = finish(60)
    assert (good, crashed, wrong) == (3000, 0, []), wrong[:10]
    before = inventory(system)

    is_running, finish = run(calls)
    workers, balancers = killer(system, is_running, random.Random(seed))
    good, crashed, wrong, seconds = finish(30)
    print(f"\nseed {seed}: {calls} calls in {seconds:.1f} s, {workers} workers and {balancers} load balancers killed:"
          f" {good} right, {crashed} crashed, {len(wrong)} wrong")  # fmt: skip
    assert not wrong, wrong[:10]
    assert good + crashed == calls
    assert workers >= 3
    assert crashed <= 1.5 * workers + 5, f"{crashed} calls lost to {workers} kills"

    faas.wait_until(lambda: system.metric("faas_queue_depth") == 0, 10, "queues empty")
    assert counted("200") == good + 3000 and counted("502") == crashed
    faas.wait_until(lambda: len(system.pids("worker")) == 4, 10, "four WASM workers")
    faas.wait_until(lambda: system.metric("faas_workers", state="ready") >= 4, 10, "four workers ready")
    faas.wait_until(lambda: system.request("GET", "/readyz").status == 200, 10, "ready")

    def leaks():
        # processes of Node.js and Python come and go with the load, by a few; a leak grows with every kill
        after = inventory(system)
        return {key: (before[key], after[key]) for key in before if after.get(key, 0) > before[key] + 12}

    faas.wait_until(lambda: not leaks(), 20, lambda: f"no leak: {leaks()} (before, after {workers} kills)")
    print("before:", before, "\nafter: ", inventory(system))
    assert not faas.orphans()
    for name in functions:
        assert system.request("POST", f"/invoke?fn={name}", b"1").output == "1"


def test_ten_thousand_calls(start_system):
    chaos(start_system(FAAS_WORKERS=4, FAAS_WORKERS_MAX=4), 10_000)


@pytest.mark.soak
def test_hundred_thousand_calls(start_system):
    chaos(start_system(FAAS_WORKERS=4, FAAS_WORKERS_MAX=4), 100_000)

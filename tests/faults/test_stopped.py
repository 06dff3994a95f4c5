"""Parts and workers that hang (SIGSTOP), descriptors that run out, disks that are full, clocks that jump."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import chaos_client
import faas

SLOW_C = """#include <stdio.h>
#include <unistd.h>
int main(void) { usleep(300000); puts("slow"); return 0; }
"""
ECHO_PY = "def handler(event, context):\n    return event\n"
SLOW_PY = "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return event\n"


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def stopped():
    """stopped(pid): SIGSTOP, and SIGCONT at the end."""
    pids = []

    def stop(pid):
        pids.append(pid)
        os.kill(pid, signal.SIGSTOP)
        faas.wait_until(lambda: (proc := faas.read_proc(pid)) and proc.state in "Tt", 5, "it is stopped")

    yield stop
    for pid in pids:
        faas.kill(pid, signal.SIGCONT)


def test_a_worker_that_stops_costs_no_call_that_it_had_not_claimed(start_system, stopped):
    """Two workers, 64 clients; one stops. What is in its pipe goes to the other; it is replaced."""
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    echo = system.deploy(Path("c/echo.c"), "c", timeout_ms=1000)
    before = set(system.pids("worker"))
    with chaos_client.Load(system.address, [echo.name], connections=64) as load:
        stopped(min(before))
        faas.wait_until(lambda: min(before) not in system.pids("worker"), 10, "the worker that stopped is ended")
        faas.wait_until(lambda: len(system.pids("worker")) == 2, 10, "it is replaced")
    late = [wrong for wrong in load.wrong if '"cause":"timeout"' not in wrong]
    assert not late, late[:5]
    assert len(load.wrong) + load.crashed <= 1, (load.wrong, load.crashed)  # the one that it was running
    assert load.quantile(1) < 5, f"a call took {load.quantile(1)} s"
    assert len(before & set(system.pids("worker"))) == 1
    assert f"(pid {min(before)})" in system.process.text()


def test_an_idle_worker_that_stops_costs_nothing(start_system, stopped):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    echo = system.deploy(Path("c/echo.c"), "c")
    victim = system.pids("worker")[0]
    stopped(victim)
    begun = time.monotonic()
    for number in range(20):
        assert echo.invoke(b"%d" % number).output == f"{number}"
    assert time.monotonic() - begun < 5
    faas.wait_until(lambda: victim not in system.pids("worker"), 10, "it is ended")
    faas.wait_until(lambda: len(system.pids("worker")) == 2, 10, "it is replaced")


def test_a_process_that_stops_costs_its_call(start_system, stopped):
    system = start_system(FAAS_PROCESSES=1)
    slow = system.deploy(SLOW_PY, "python", timeout_ms=1000)
    assert slow.invoke(b"1").output == "1"
    answers = []
    caller = threading.Thread(target=lambda: answers.append(slow.invoke(b"2")))
    caller.start()
    pid = faas.wait_until(lambda: system.pids("worker-python"), 5, "its process")[0]
    time.sleep(0.1)
    stopped(pid)
    caller.join()
    answers[0].assert_error(504, "timeout")
    assert slow.invoke(b"3").output == "3"


@pytest.mark.parametrize("part", ["load_balancer", "server"])
def test_calls_go_on_while_a_part_is_stopped(start_system, stopped, part):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    functions = [system.deploy(Path("c/echo.c"), "c").name, system.deploy(ECHO_PY, "python").name]
    for name in functions:
        assert system.request("POST", f"/invoke?fn={name}", b"1").output == "1"
    pid = system.pid_of(part)
    with chaos_client.Load(system.address, functions, connections=8) as load:
        stopped(pid)
        time.sleep(1)
        if part == "load_balancer":
            answer = system.request("PUT", "/strategy", b"WEIGHTED")
            assert answer.status in (500, 503, 504), answer
        os.kill(pid, signal.SIGCONT)
    assert (load.crashed, load.wrong) == (0, [])
    assert system.pid_of(part) == pid
    faas.wait_until(lambda: system.request("PUT", "/strategy", b"FIFO").status == 200, 10, "the strategy is set")


def limit_files(pid, soft):
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_the_gateway_neither_dies_nor_spins(start_system):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    echo = system.deploy(Path("c/echo.c"), "c")
    pid = system.pid_of("api_gateway")
    before, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    kept = system.raw()
    assert kept.request("POST", f"/invoke?fn={echo.name}", b"1").status == 200
    limit_files(pid, len(os.listdir(f"/proc/{pid}/fd")) + 4)
    connections = [system.raw() for _ in range(40)]  # the kernel takes them; the gateway only four
    one = f"POST /invoke?fn={echo.name} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n7".encode()
    for connection in connections:
        connection.send(one)
    faas.wait_until(lambda: "accepting pauses" in system.process.text(), 5, "the shortage is said")
    begun, used = time.monotonic(), cpu_s(pid)
    time.sleep(2)
    share = (cpu_s(pid) - used) / (time.monotonic() - begun)
    assert share < 0.1, f"the gateway uses {share:.0%} of a core while it cannot accept"
    assert json.loads(kept.request("POST", f"/invoke?fn={echo.name}", b"2").body)["output"] == "2"
    kept.send(f"POST /deploy?name=none&lang=python HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ECHO_PY)}\r\n\r\n{ECHO_PY}")
    kept.answer().assert_error(500)
    limit_files(pid, before)
    for connection in connections:
        assert json.loads(connection.answer().body)["output"] == "7"
        connection.close()
    assert system.pid_of("api_gateway") == pid
    assert system.process.text().count("accepting pauses") <= 2, "one line, not one for each connection"
    assert system.deploy(ECHO_PY, "python", "none").invoke(b"3").output == "3"


def test_without_descriptors_the_server_recovers(start_system):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    echo, python = system.deploy(Path("c/echo.c"), "c"), system.deploy(ECHO_PY, "python")
    assert python.invoke(b"1").output == "1"
    pid = system.pid_of("server")
    before, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    limit_files(pid, 3)
    victim = system.pids("worker")[0]
    faas.kill(victim)
    faas.wait_until(lambda: "Too many open files" in system.process.text(), 5, "it is said")
    for number in range(10):
        assert echo.invoke(b"%d" % number).output == f"{number}"
    used = cpu_s(pid)
    time.sleep(1)
    assert cpu_s(pid) - used < 0.2
    limit_files(pid, before)
    faas.wait_until(lambda: len(system.pids("worker")) == 2, 15, "the worker is back")
    assert python.invoke(b"2").output == "2" and system.pid_of("server") == pid


@pytest.fixture
def tiny_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("tests/faults: no right to mount a tmpfs: a disk that is really full is not tried")
    yield disk
    subprocess.run(["umount", "-l", disk])


@pytest.mark.parametrize("which", ["data", "log"])
def test_a_full_disk(start_system, tiny_disk, which):
    system = start_system(**{"FAAS_DATA_DIR" if which == "data" else "FAAS_LOG_DIR": tiny_disk / which})
    echo = system.deploy(Path("c/echo.c"), "c")
    noisy = system.deploy("import sys\ndef handler(event, context):\n    print('x' * 1000)\n    return event\n", "python")
    filler = tiny_disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(512)):
            pass
    for number in range(10):
        assert echo.invoke(b"%d" % number).output == f"{number}"
        assert noisy.invoke(b"%d" % number).output == f"{number}"
    answer = system.try_deploy((faas.EXAMPLES / "c/echo.c").read_text(), "c", "late")
    if which == "data":
        answer.assert_error(507, "storage_full")
        assert system.request("GET", "/function/late").status == 404
        assert system.try_deploy(SLOW_C, "c", echo.name, method="PUT").status == 507
        assert echo.invoke(b"old").output == "old"
        assert not list(system.env["FAAS_DATA_DIR"].glob(".stage-*"))
    else:
        assert answer.status == 201, "logs are no reason to refuse"
    filler.unlink()
    if which == "data":
        assert system.try_deploy((faas.EXAMPLES / "c/echo.c").read_text(), "c", "late").status == 201
    assert system.request("POST", "/invoke?fn=late", b"5").output == "5"


def test_the_wall_clock_jumps(preloaded):
    system = preloaded()
    slow = system.deploy(SLOW_C, "c", timeout_ms=2000)
    python = system.deploy(ECHO_PY, "python", timeout_ms=2000)
    ids = {slow.id, python.id}
    with chaos_client.Load(system.address, [python.name], connections=4) as load:
        for jump_s in (86400, -86400, 0, 400 * 86400, -3600):
            system.faults.jump(realtime_s=jump_s)
            begun = time.monotonic()
            assert slow.invoke().output == "slow\n"
            assert 0.25 < time.monotonic() - begun < 2
            again = system.deploy(ECHO_PY, "python", method="PUT", name="again")
            assert again.id not in ids, "an id is used once, whatever the clock says"
            ids.add(again.id)
    assert (load.crashed, load.wrong) == (0, []), load.wrong[:3]
    versions = [system.request("GET", "/function/again").json["version"]]
    assert versions == [5]


def test_a_monotonic_clock_that_leaps_as_after_a_suspend_kills_no_instance(preloaded):
    """What ran meanwhile may be over its deadline; what comes then is not."""
    system = preloaded()
    echo, python = system.deploy(Path("c/echo.c"), "c"), system.deploy(ECHO_PY, "python")
    pids = system.platform_pids()
    system.faults.jump(monotonic_s=3600)
    for number in range(10):
        for function in (echo, python):
            faas.wait_until(lambda: function.invoke(b"%d" % number).status == 200, 10, "calls go on")
    assert system.platform_pids() == pids

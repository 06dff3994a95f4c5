"""New versions of the parts take over while calls run, and no client notices: `minifaas reload`, SIGHUP."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import chaos_client
import faas

PARTS = {"gateway": "api_gateway", "server": "server", "balancer": "load_balancer"}
ECHO_JS = "exports.handler = (event) => event;\n"
ECHO_PY = "def handler(event, context):\n    return event\n"
SLOW_C = """#include <stdio.h>
#include <unistd.h>
int main(void) { usleep(1000000); puts("slow"); return 0; }
"""
SLOW_JS = "exports.handler = () => new Promise((done) => setTimeout(done, 1000, 'slow'));\n"
SLOW_PY = "import time\ndef handler(event, context):\n    time.sleep(1)\n    return 'slow'\n"
SLOW_SCRIPT = "import time\ntime.sleep(1)\nprint('slow')\n"


def reload(system, *parts, status=0):
    run = subprocess.run([system.bin_dir / "minifaas", "reload", *parts, "--run-dir", system.run_dir],
                         capture_output=True, text=True, timeout=90)  # fmt: skip
    assert run.returncode == status, (run, system.tail())
    return run.stdout + run.stderr


def settled(system):
    """Nothing of what was replaced is left."""
    faas.wait_until(lambda: len(system.procs(*PARTS.values())) == 3 and len(system.pids("worker")) == 2, 15,
                    lambda: f"three parts and two workers: {system.procs()}")  # fmt: skip


@pytest.fixture(scope="module")
def mixed(request):
    system = faas.System(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    try:
        system.start()
        system.functions = [system.deploy(Path("c/echo.c"), "c").name, system.deploy(ECHO_JS, "js").name,
                            system.deploy(ECHO_PY, "python").name]  # fmt: skip
        yield system
        settled(system)
        system.stop()
    finally:
        print(system.tail())
        system.remove()


@pytest.mark.xdist_group("reload")
@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_twenty_reloads_under_load_fail_no_call(mixed, part):
    before = mixed.platform_pids()
    with chaos_client.Load(mixed.address, mixed.functions, connections=64) as load:
        for _ in range(20):
            said = reload(mixed, part)
            assert "took over" in said, said
    after = mixed.platform_pids()
    changed = {comm for comm in PARTS.values() if before[comm] != after[comm]}
    assert changed == (set(PARTS.values()) if part == "all" else {PARTS[part]})
    assert (load.crashed, load.wrong) == (0, []), load.wrong[:10]
    assert load.good > 500
    print(f"{part}: {load.good} calls, p50 {load.quantile(0.5) * 1e3:.1f} ms, p99.9 {load.quantile(0.999) * 1e3:.1f} ms")
    settled(mixed)


@pytest.mark.xdist_group("reload")
@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_slow_calls_in_flight_end_as_they_would(mixed, part):
    functions = [mixed.shared(SLOW_C, "c"), mixed.shared(SLOW_JS, "js"), mixed.shared(SLOW_PY, "python"),
                 mixed.shared(SLOW_SCRIPT, "python")]  # fmt: skip
    outputs = {0: "slow\n", 1: '"slow"', 2: '"slow"', 3: "slow\n"}
    said = []

    def caller(index):
        answers = []
        while not answers or reloader.is_alive():
            answers.append(functions[index % 4].invoke(b"{}"))
        return answers

    reloader = threading.Thread(target=lambda: said.extend(reload(mixed, part) for _ in range(5)))
    reloader.start()
    answers = faas.parallel(8, caller)
    reloader.join()
    assert len(said) == 5
    for index, of_one in enumerate(answers):
        assert len(of_one) >= 1
        for answer in of_one:
            assert answer.output == outputs[index % 4], answer
    settled(mixed)


@pytest.mark.xdist_group("reload")
def test_deploys_under_way_are_not_lost(mixed):
    stop = threading.Event()
    names = [[], [], []]

    def deployer(index):
        lang, source = [("c", (faas.EXAMPLES / "c/echo.c").read_text()), ("js", ECHO_JS), ("python", ECHO_PY)][index]
        while not stop.is_set():
            answer = mixed.try_deploy(source, lang)
            names[index].append((answer, answer.json.get("name")))

    threads = [threading.Thread(target=deployer, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        reload(mixed, "gateway")
        time.sleep(0.2)
    for _ in range(3):
        reload(mixed, "all")
    stop.set()
    for thread in threads:
        thread.join()
    for answer, name in sum(names, []):
        assert answer.status == 201, answer
        assert mixed.request("POST", f"/invoke?fn={name}", b"7").output == "7"
    listed = {function["name"] for function in mixed.request("GET", "/functions").json["functions"]}
    assert {name for _, name in sum(names, [])} <= listed
    assert not list(mixed.data_dir.glob(".stage-*"))


@pytest.mark.xdist_group("reload")
def test_connections_go_over_whatever_state_they_are_in(mixed):
    c = mixed.functions[0]
    idle, head, length, chunks, pipelined, awaiting = (mixed.raw() for _ in range(6))
    assert json.loads(idle.request("POST", f"/invoke?fn={c}", b"1").body)["output"] == "1"
    head.send(f"POST /invoke?fn={c} HTTP/1.1\r\nHost: faas\r\nContent-Le")
    length.send(f"POST /invoke?fn={c} HTTP/1.1\r\nHost: faas\r\nContent-Length: 10\r\n\r\n01234")
    chunks.send(f"POST /invoke?fn={c} HTTP/1.1\r\nHost: faas\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56")
    slow = mixed.shared(SLOW_C, "c").name
    one = f"POST /invoke?fn={c} HTTP/1.1\r\nHost: faas\r\nContent-Length: 1\r\n\r\n"
    pipelined.send(f"POST /invoke?fn={slow} HTTP/1.1\r\nHost: faas\r\nContent-Length: 0\r\n\r\n{one}8{one}9")
    awaiting.send(f"POST /invoke?fn={c} HTTP/1.1\r\nHost: faas\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert awaiting.answer().status == 100
    time.sleep(0.1)  # the slow call is running
    reload(mixed, "gateway")
    reload(mixed, "all")

    assert json.loads(idle.request("POST", f"/invoke?fn={c}", b"2").body)["output"] == "2"
    assert json.loads(head.send("ngth: 1\r\n\r\n3").answer().body)["output"] == "3"
    assert json.loads(length.send("56789").answer().body)["output"] == "0123456789"
    assert json.loads(chunks.send("789\r\n0\r\n\r\n").answer().body)["output"] == "0123456789"
    assert [json.loads(pipelined.answer().body)["output"] for _ in range(3)] == ["slow\n", "8", "9"]
    assert json.loads(awaiting.send("abc").answer().body)["output"] == "abc"
    for connection in (idle, head, length, chunks, pipelined, awaiting):
        answer = connection.request("POST", f"/invoke?fn={c}", b"4")
        assert json.loads(answer.body)["output"] == "4" and answer.header("Connection") is None, answer
        connection.close()
    settled(mixed)


@pytest.mark.xdist_group("reload")
def test_sighup_replaces_all_parts(mixed):
    before = mixed.platform_pids()
    workers = set(mixed.pids("worker"))
    mixed.process.signal(signal.SIGHUP)
    faas.wait_until(lambda: not {*before.values()} & {p.pid for p in mixed.procs(*PARTS.values())}, 15,
                    lambda: f"new parts: {before} {mixed.procs()}")  # fmt: skip
    settled(mixed)
    assert mixed.platform_pids()["minifaas"] == before["minifaas"]
    assert not workers & set(mixed.pids("worker"))
    assert mixed.request("POST", f"/invoke?fn={mixed.functions[0]}", b"1").output == "1"


@pytest.mark.xdist_group("reload")
def test_the_strategy_and_the_processes_survive(mixed):
    assert mixed.request("PUT", "/strategy", b"WEIGHTED").status == 200
    python = mixed.functions[2]

    def processes():
        workers = mixed.request("GET", "/workers").json["workers"]
        return {worker["pid"] for worker in workers if worker["function"] == python}

    assert mixed.request("POST", f"/invoke?fn={python}", b"1").output == "1"
    before = processes()
    reload(mixed, "gateway")
    after = processes()
    assert before and before <= after, "a gateway's processes go to the next one"
    assert mixed.request("POST", f"/invoke?fn={python}", b"1").output == "1"
    time.sleep(1.2)  # longer than the server leaves processes to a gateway that is gone
    assert processes() >= before
    reload(mixed)
    assert mixed.request("GET", "/strategy").json["strategy"] == "WEIGHTED"
    assert mixed.request("PUT", "/strategy", b"RR").status == 200
    settled(mixed)


def test_a_bad_request_is_told(mixed):
    assert "reload takes one of" in reload(mixed, "worker", status=2)
    run = subprocess.run([faas.BIN / "minifaas", "reload", "--run-dir", mixed.home], capture_output=True, text=True)
    assert run.returncode == 1 and "no minifaas runs in" in run.stderr


@pytest.fixture
def own_copy(start_system, tmp_path):
    """An instance that runs from executables of its own."""
    copy = tmp_path / "build" / "bin"
    shutil.copytree(faas.BIN, copy, symlinks=True)
    return start_system(bin_dir=copy, FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)


def replace(path):
    """As an installation does: the new file under the old name."""
    new = path.with_name("." + path.name)
    shutil.copy2(path, new)
    new.rename(path)
    return path.stat().st_ino


def inode_of(pid):
    return os.stat(f"/proc/{pid}/exe").st_ino


def test_new_executables_take_over(own_copy):
    echo = own_copy.deploy(Path("c/echo.c"), "c")
    names = [*PARTS.values(), "worker"]
    inodes = {name: replace(own_copy.bin_dir / name) for name in names}
    assert not any(inode_of(p.pid) == inodes[p.comm] for p in own_copy.procs(*names))
    with chaos_client.Load(own_copy.address, [echo.name], connections=16) as load:
        reload(own_copy)
    settled(own_copy)
    assert {p.comm for p in own_copy.procs(*names) if inode_of(p.pid) == inodes[p.comm]} == set(names)
    assert (load.crashed, load.wrong) == (0, [])


@pytest.mark.parametrize("part", PARTS)
def test_one_that_does_not_start_replaces_nobody(own_copy, part):
    echo = own_copy.deploy(Path("c/echo.c"), "c")
    before = own_copy.platform_pids()
    program = own_copy.bin_dir / PARTS[part]
    program.rename(program.with_suffix(".good"))
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    with chaos_client.Load(own_copy.address, [echo.name], connections=16) as load:
        assert f"{PARTS[part]} was not replaced" in reload(own_copy, part, status=1)
    assert own_copy.platform_pids() == before
    assert (load.crashed, load.wrong) == (0, [])
    program.with_suffix(".good").rename(program)
    assert own_copy.deploy(ECHO_PY, "python").invoke(b"5").output == "5"
    assert "took over" in reload(own_copy, part)
    assert echo.invoke(b"5").output == "5"
    settled(own_copy)


def test_a_gateway_that_dies_while_it_takes_over(own_copy):
    """It had the data directory already: the old one takes that back, and a deploy that was held goes on."""
    echo = own_copy.deploy(Path("c/echo.c"), "c")
    before = own_copy.platform_pids()
    program = own_copy.bin_dir / "api_gateway"
    program.rename(program.with_suffix(".good"))
    # Asks for the data directory, then dies.
    program.write_text(f"""#!/usr/bin/env python3
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("{own_copy.run_dir}/faas_gateway.sock")
size = {message_size()}
s.send(bytes([50, 1]) + bytes(size - 2))
assert s.recv(4096)[0] == 51
time.sleep(1)
""")
    program.chmod(0o755)
    answers = []
    reloader = threading.Thread(target=lambda: answers.append(reload(own_copy, "gateway", status=1)))
    reloader.start()
    faas.wait_until(lambda: "another gateway is to take our place" in own_copy.process.text(), 10, "the takeover")
    deployed = own_copy.deploy(ECHO_PY, "python")  # held until the other is dead
    reloader.join()
    assert "was not replaced" in answers[0]
    assert own_copy.platform_pids() == before
    assert deployed.invoke(b"5").output == "5" and echo.invoke(b"5").output == "5"
    program.with_suffix(".good").rename(program)
    assert "took over" in reload(own_copy, "gateway")
    assert deployed.invoke(b"5").output == "5"


def message_size():
    """Of struct message; it holds no padding."""
    limits = (faas.ROOT / "src/wire/limits.h").read_text()
    return 44 + 4 * sum(line.strip().startswith("X(") for line in limits.splitlines()) + 256

"""load_balancer, server and api_gateway by hand, in any order, killed and started again; the supervisor's care."""

import itertools
import socket
import threading
import time
from pathlib import Path

import pytest

import faas

PARTS = {"load_balancer": ["RR"], "server": [], "api_gateway": []}
READY = {
    "load_balancer": r"load_balancer: listening on .*/faas_lb\.sock \(RR strategy\)",
    "server": r"server: listening on .*/faas_server\.sock",
    "api_gateway": r"api_gateway listening on \S+:\d+",
}


class Terminals:
    """The three parts, one terminal each."""

    def __init__(self, start_process, start_system, **env):
        self.system = start_system(started=False, FAAS_WORKERS=2, FAAS_WORKERS_MAX=2, **env)
        self.start_process, self.parts = start_process, {}

    def start(self, name):
        env = faas.clean_env(**self.system.env)
        if self.system.address:
            env["FAAS_LISTEN"] = "%s:%d" % self.system.address
        self.parts[name] = self.start_process([faas.BIN / name, *PARTS[name]], env, self.system.home)
        return self.parts[name]

    def find_address(self):
        self.system.find_address(self.parts["api_gateway"])

    def kill(self, name):
        self.parts[name].popen.kill()
        self.parts[name].wait()

    def text(self):
        return "\n".join(f"--- {name}\n{part.text()}" for name, part in self.parts.items())

    def invoke(self, name):
        """One call that must be answered right within its time, whatever is being started again."""

        def works():
            try:
                return self.system.request("POST", f"/invoke?fn={name}", timeout_s=10).status == 200
            except OSError:
                return False

        faas.wait_until(works, 15, lambda: f"calls work\n{self.text()}")


@pytest.fixture
def terminals(start_process, start_system):
    return Terminals(start_process, start_system)


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)), ids="-".join)
def test_parts_by_hand_in_any_order(terminals, order):
    for name in order:
        part = terminals.start(name)
        if name == "load_balancer":
            part.wait_line(READY[name], 5)  # it waits for nobody
    terminals.find_address()
    terminals.system.wait_ready()
    terminals.parts["server"].wait_line(r"server: 2 workers ready, forwarding requests to load balancer", 5)
    hello = terminals.system.deploy(Path("c/hello.c"), "c")
    assert hello.invoke().output == "Hello from FAAS!\n"
    script = terminals.system.deploy("print('script')\n", "python")
    assert script.invoke().output == "script\n"
    for name in reversed(order):
        terminals.parts[name].signal(15)
        assert terminals.parts[name].wait(10) == 0, terminals.text()
    faas.wait_until(lambda: not faas.orphans(), 5, lambda: f"nothing left: {faas.orphans()}\n{terminals.text()}")
    assert not list(terminals.system.run_dir.glob("*.sock"))


@pytest.mark.parametrize("victim", PARTS)
def test_part_that_is_killed_and_started_again(terminals, victim):
    """The others are not touched, and calls work again."""
    for name in PARTS:
        terminals.start(name)
    terminals.find_address()
    terminals.system.wait_ready()
    functions = [terminals.system.deploy(Path(path), lang).name
                 for path, lang in (("c/hello.c", "c"), ("python/hello.py", "python"), ("js/hello.js", "js"))]  # fmt: skip
    for name in functions:
        terminals.invoke(name)
    others = {name: part.pid for name, part in terminals.parts.items() if name != victim}
    for _ in range(2):
        terminals.kill(victim)
        terminals.start(victim)
        for name in functions:
            terminals.invoke(name)
        faas.wait_until(lambda: terminals.system.request("GET", "/readyz").status == 200, 10, "ready")
        terminals.parts[victim].wait_line(r".* listening on .*")
    assert {name: terminals.parts[name].popen.poll() for name in others} == dict.fromkeys(others), terminals.text()
    for name in PARTS:
        terminals.parts[name].signal(15)
    for name in PARTS:
        assert terminals.parts[name].wait(10) == 0
    faas.wait_until(lambda: not faas.orphans(), 5, lambda: f"nothing left: {faas.orphans()}")


def test_running_workers_serve_while_balancer_or_server_is_away(terminals):
    for name in PARTS:
        terminals.start(name)
    terminals.find_address()
    terminals.system.wait_ready()
    hello = terminals.system.deploy(Path("c/hello.c"), "c")
    terminals.kill("load_balancer")
    assert [hello.invoke().status for _ in range(50)] == [200] * 50
    terminals.start("load_balancer")
    terminals.invoke(hello.name)
    terminals.kill("server")
    assert [hello.invoke().status for _ in range(50)] == [200] * 50


def test_gateway_alone_lives_and_is_not_ready(terminals):
    terminals.start("api_gateway")
    terminals.find_address()
    assert terminals.system.request("GET", "/healthz", timeout_s=5).status == 200
    assert terminals.system.request("GET", "/readyz", timeout_s=5).status == 503


def test_by_hand_the_second_of_a_part_is_refused(terminals):
    terminals.start("load_balancer").wait_line(READY["load_balancer"])
    second = terminals.start_process([faas.BIN / "load_balancer", "RR"], faas.clean_env(**terminals.system.env))
    assert second.wait(5) != 0 and "faas_lb.sock" in second.text()
    terminals.start("server").wait_line(READY["server"])
    second = terminals.start_process([faas.BIN / "server"], faas.clean_env(**terminals.system.env))
    assert second.wait(5) != 0 and "faas_server.sock" in second.text()


@pytest.mark.parametrize("part", PARTS)
def test_wrong_arguments_by_hand(start_process, tmp_path, part):
    process = start_process([faas.BIN / part, "--no-such-flag"], faas.clean_env(FAAS_RUN_DIR=tmp_path), tmp_path)
    assert process.wait(5) not in (0, None) and "no-such-flag" in process.text()


# --- below the supervisor -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", PARTS)
def test_supervisor_starts_a_part_again_within_half_a_second(start_system, victim):
    system = start_system()
    hello = system.deploy(Path("c/hello.c"), "c")
    before = system.platform_pids()
    faas.kill(before[victim])
    begun = time.monotonic()
    faas.wait_until(lambda: system.platform_pids().get(victim) not in (None, before[victim]), 5, "started again")
    took = time.monotonic() - begun
    faas.wait_until(lambda: system.request("POST", f"/invoke?fn={hello.name}").status == 200, 10, "calls work")
    system.wait_ready()
    after = system.platform_pids()
    assert {name for name in before if before[name] != after.get(name)} == {victim}
    assert took < 0.75 * faas.PATIENCE, took  # half a second, and what the look at /proc costs


def test_part_that_keeps_dying_is_kept_alive(start_system):
    system = start_system()
    hello = system.deploy(Path("c/hello.c"), "c")
    for _ in range(4):
        for victim in PARTS:
            old = system.pid_of(victim)
            faas.kill(old)
            faas.wait_until(lambda: system.platform_pids().get(victim) not in (None, old), 15, f"{victim} started again")
    faas.wait_until(lambda: system.request("POST", f"/invoke?fn={hello.name}").status == 200, 15, "calls work")
    system.wait_ready()
    assert len(faas.wait_until(lambda: len(p := system.pids("worker")) == 4 and p, 10, "as many workers as before")) == 4


def test_gateway_restart_keeps_the_port_and_refuses_no_connection(start_system):
    system = start_system()
    hello = system.deploy(Path("c/hello.c"), "c")
    stop, refused, opened = threading.Event(), [], []

    def connect():
        while not stop.is_set():
            try:
                with socket.create_connection(system.address, 10):
                    opened.append(1)
            except ConnectionRefusedError as error:
                refused.append(error)
            except OSError:
                pass
            time.sleep(0.002)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        for _ in range(3):
            old = system.pid_of("api_gateway")
            faas.kill(old)
            faas.wait_until(lambda: system.platform_pids().get("api_gateway") not in (None, old), 5, "started again")
            faas.wait_until(lambda: answered(system, hello), 10, "calls work on the same port")
    finally:
        stop.set()
        thread.join()
    assert not refused and len(opened) > 20


def answered(system, function):
    try:
        return function.invoke(timeout_s=10).status == 200
    except OSError:
        return False


def test_connection_made_while_the_gateway_is_away_is_served(start_system):
    system = start_system()
    hello = system.deploy(Path("c/hello.c"), "c")
    faas.kill(system.pid_of("api_gateway"))
    with system.raw(15) as raw:  # waits in the supervisor's socket
        try:
            assert raw.request("POST", f"/invoke?fn={hello.name}").output == "Hello from FAAS!\n"
        except (ConnectionResetError, AssertionError, BrokenPipeError):
            # accepted by the dying gateway; the next one must do
            assert hello.invoke().output == "Hello from FAAS!\n"


def test_workers_survive_the_gateway(start_system):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    hello = system.deploy(Path("c/hello.c"), "c")
    workers = sorted(system.pids("worker"))
    faas.kill(system.pid_of("api_gateway"))
    faas.wait_until(lambda: answered(system, hello), 10, "calls work")
    assert sorted(system.pids("worker")) == workers


def test_worker_that_is_killed_is_replaced_at_once(start_system):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    hello = system.deploy(Path("c/hello.c"), "c")
    for _ in range(10):
        victim = system.pids("worker")[0]
        faas.kill(victim)
        assert hello.invoke().status == 200
        faas.wait_until(lambda: len(system.pids("worker")) == 2 and victim not in system.pids("worker"), 3, "replaced")


@pytest.mark.parametrize("lang, source, comm", [
    ("c", "#include <time.h>\n#include <stdio.h>\nint main(void) { struct timespec a, b; clock_gettime(CLOCK_MONOTONIC, &a);\n"
          " do clock_gettime(CLOCK_MONOTONIC, &b); while (b.tv_sec - a.tv_sec < 3); puts(\"done\"); return 0; }\n", "worker"),
    ("python", "import time\ndef handler(e, c):\n    time.sleep(3)\n    return 'done'\n", "worker-python"),
    ("js", "exports.handler = () => new Promise((r) => setTimeout(r, 3000));\n", "worker-node"),
    ("python", "import time\ntime.sleep(3)\nprint('done')\n", "worker-python"),
], ids=["c", "py-handler", "js-handler", "py-script"])  # fmt: skip
def test_call_that_runs_on_a_killed_worker_is_502_and_not_repeated(start_system, lang, source, comm):
    system = start_system(FAAS_WORKERS=1, FAAS_WORKERS_MAX=1)
    function = system.deploy(source, lang)
    answers = []
    begun = time.monotonic()
    thread = threading.Thread(target=lambda: answers.append(function.invoke()))
    thread.start()

    def running():
        """The process that runs it: the one WASM worker once it burns CPU, or the function's own process."""
        pids = system.pids(comm)
        if comm != "worker":
            return pids[0] if pids and time.monotonic() - begun > 1.5 else None
        ticks = int(Path(f"/proc/{pids[0]}/stat").read_text().rsplit(")", 1)[1].split()[11])
        return pids[0] if ticks > 20 else None

    faas.kill(faas.wait_until(running, 10, "the call runs"))
    thread.join(10)
    answers[0].assert_error(502, "crash")
    assert time.monotonic() - begun < 8
    assert system.metric("faas_calls_total", function=function.name) == 1


def test_a_gateway_that_spins_serves_and_sleeps_when_there_is_nothing_to_do(start_system):
    system = start_system(FAAS_SPIN_US=2000)
    hello = system.deploy(Path("c/hello.c"), "c")
    assert [hello.invoke().status for _ in range(50)] == [200] * 50
    gateway = system.pid_of("api_gateway")
    faas.wait_until(lambda: faas.read_proc(gateway).state == "S", 10, "the gateway to sleep")

    def ticks():
        fields = Path(f"/proc/{gateway}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    start, before = time.monotonic(), ticks()
    faas.wait_until(lambda: time.monotonic() - start > 0.5, 2, "half a second")
    assert ticks() - before < 25, "an idle gateway burns its core"

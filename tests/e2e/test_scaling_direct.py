"""How the server makes more and fewer workers, and what the balancer makes of the load's figures: this test stands in
the place of the other parts, on the sockets, on the pipes and in the table."""

import os
import shutil
import signal
import socket
import struct
import time

import pytest

import faas
from test_parts_direct import CODES, EMPTY, GONE, READY, Peer, Table, alive, gone, parts, readable  # noqa: F401

ROLE_SERVER = 1
ROWS = 64 + 64 * 64
LOAD, SCALING = ROWS, ROWS + 64


class Balancer(Peer):
    """The load balancer's end of the server's connection."""

    def __init__(self, parts):
        parts.run_dir.mkdir(mode=0o700, exist_ok=True)
        path = parts.run_dir / "faas_lb.sock"
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen()
        self.waiting, self.path = [], path
        parts.peers.append(self)

    def accept(self):
        self.listener.settimeout(15)
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(15)
        return self.expect("LB_HELLO")

    def scale(self, target):
        return self.send("LB_SCALE", target=target)

    def close(self):
        super().close()
        self.listener.close()


@pytest.fixture
def scaled(parts):  # noqa: F811
    """A server with 2 to 6 workers, its balancer and its gateway."""
    balancer = Balancer(parts)
    server = parts.server(FAAS_WORKERS_MAX=6)
    hello = balancer.accept()
    assert (hello.target, hello.least, hello.most) == (2, 2, 6)
    gateway = parts.gateway()
    workers = {w.number: w for w in parts.workers(gateway)}
    for number in workers:
        balancer.expect("LB_REGISTER", worker=number)

    def grow(target):
        balancer.scale(target)
        for number in range(target):
            if number not in workers:
                workers[number] = parts.worker(gateway, worker=number)
                balancer.expect("LB_REGISTER", worker=number, pid=workers[number].pid)

    def let_go(number):
        parts.let_go(workers[number])
        return workers.pop(number).pid

    parts.balancer_end, parts.server_process, parts.gateway_end = balancer, server, gateway
    parts.all, parts.grow, parts.drop = workers, grow, let_go
    return parts


def retired(parts, number):  # noqa: F811
    """The server gives that worker up: both are told, and nobody else."""
    pid = parts.all[number].pid
    parts.gateway_end.expect("SERVER_RETIRE", worker=number, pid=pid)
    assert parts.balancer_end.expect("LB_GONE", worker=number, pid=pid).code == CODES["ERR_OK"]
    return pid


def nothing_retires(parts):  # noqa: F811
    return not readable(parts.gateway_end.socket.fileno(), 0.2) or parts.gateway_end.next().kind == "SERVER_RUNTIMES"


def test_more_workers_are_like_the_first_ones(scaled):
    scaled.grow(5)
    assert all(w.serves() and w.generation == 0 for w in scaled.all.values())
    for number, worker in scaled.all.items():
        scaled.server_process.wait_line(rf"server: created worker {number} \(pid {worker.pid}\)")
    old = scaled.all[4]
    os.kill(old.pid, signal.SIGKILL)
    new = scaled.worker(scaled.gateway_end, worker=4)
    assert new.generation == 1 and new.pid != old.pid and new.serves()


def test_the_server_stays_within_its_bounds(scaled):
    scaled.balancer_end.scale(4_000_000_000)
    for number in range(2, 6):
        scaled.all[number] = scaled.worker(scaled.gateway_end, worker=number)
    scaled.balancer_end.scale(0)
    for number in (5, 4, 3, 2):
        retired(scaled, number)
    assert nothing_retires(scaled)
    assert all(scaled.all[number].serves() for number in (0, 1))


def test_the_highest_without_a_call_goes_first(scaled):
    scaled.grow(6)
    scaled.all[5].admit(70)
    scaled.all[3].admit(71)
    scaled.balancer_end.scale(4)
    assert {retired(scaled, 4), retired(scaled, 2)} == {scaled.all[4].pid, scaled.all[2].pid}
    assert alive(scaled.all[5].pid) and alive(scaled.all[3].pid)


def test_while_another_has_no_call_nobody_with_one_goes(scaled):
    scaled.grow(3)
    scaled.all[2].admit(70)
    scaled.balancer_end.scale(2)
    assert nothing_retires(scaled)
    scaled.all[2].free()
    retired(scaled, 2)


def test_when_all_have_calls_the_highest_goes_and_finishes_its_own(scaled):
    scaled.grow(4)
    for worker in scaled.all.values():
        worker.admit(70)
    scaled.balancer_end.scale(3)
    retired(scaled, 3)
    last = scaled.all[3]
    assert last.call(71) == CODES["ERR_INTERNAL"]
    gone(scaled.drop(3))
    assert nothing_retires(scaled)


def test_a_wish_that_is_taken_back_costs_nobody(scaled):
    scaled.grow(3)
    scaled.all[2].admit(70)
    scaled.balancer_end.scale(2)
    assert nothing_retires(scaled)
    scaled.grow(4)
    scaled.all[2].free()
    assert nothing_retires(scaled) and scaled.all[2].serves()


def test_a_number_comes_back_when_it_is_free(scaled):
    scaled.grow(6)
    for number in (3, 4):
        scaled.all[number].admit(70)
    scaled.balancer_end.scale(4)
    for number in (5, 2):
        retired(scaled, number)
    # All numbers are taken until those are gone.
    scaled.balancer_end.scale(6)
    assert nothing_retires(scaled)
    for number in (2, 5):
        gone(scaled.drop(number))
        scaled.all[number] = scaled.worker(scaled.gateway_end, worker=number)
        assert scaled.all[number].generation == 0 and scaled.all[number].serves()


def test_a_gateway_that_does_not_let_go_of_it_is_not_waited_for(scaled):
    scaled.grow(4)
    scaled.balancer_end.scale(2)
    for number in (3, 2):
        retired(scaled, number)
    scaled.all[3].admit(70)
    gone(scaled.all[2].pid)
    assert alive(scaled.all[3].pid)
    scaled.all[3].free()
    gone(scaled.all[3].pid)


def test_the_next_gateway_does_not_get_one_that_goes(scaled):
    scaled.grow(4)
    scaled.all[3].admit(70)
    for number in range(3):
        scaled.all[number].admit(70)
    scaled.balancer_end.scale(3)
    retired(scaled, 3)
    gateway = scaled.gateway()
    for number in range(3):
        scaled.drop(number)
    assert {scaled.worker(gateway).number for _ in range(3)} == {0, 1, 2}
    gateway.expect("SERVER_RUNTIMES")
    assert gateway.quiet()


def test_one_that_does_not_start_is_given_up_first_and_in_peace(scaled, tmp_path):
    home = tmp_path / "bin"
    home.mkdir()
    for name in ("server", "load_balancer", "worker"):
        shutil.copy(faas.BIN / name, home / name)
    scaled.server_process.signal(signal.SIGTERM)
    scaled.server_process.wait()
    for number in (0, 1):
        scaled.drop(number)
    scaled.bin = home
    server = scaled.server(FAAS_WORKERS_MAX=6)
    balancer = scaled.balancer_end
    assert balancer.accept().target == 2
    scaled.workers(scaled.gateway())
    broken = home / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    os.rename(broken, home / "worker")
    balancer.scale(3)
    for wait_ms in (100, 200, 400):
        server.wait_line(rf"server: worker 2 is tried again in {wait_ms} ms")
    balancer.scale(2)
    server.wait_line(r"server: worker 2 (\(pid \d+\) )?is not needed any more.*")
    tried = server.text().count("tried again")
    with pytest.raises(AssertionError):
        faas.wait_until(lambda: server.text().count("tried again") > tried, 1, "another try")


def test_a_server_ends_while_workers_retire(scaled):
    scaled.grow(6)
    scaled.balancer_end.scale(3)
    for number in (5, 4, 3):
        retired(scaled, number)
    scaled.server_process.signal(signal.SIGTERM)
    assert scaled.server_process.wait(10) == 0
    for worker in scaled.all.values():
        gone(worker.pid)


def test_the_balancer_is_told_again_how_many_there_are(scaled):
    scaled.grow(5)
    scaled.balancer_end.socket.close()
    hello = scaled.balancer_end.accept()
    assert (hello.target, hello.least, hello.most) == (5, 2, 6)
    assert sorted(scaled.balancer_end.expect("LB_REGISTER").worker for _ in range(5)) == [0, 1, 2, 3, 4]


# --- the balancer -----------------------------------------------------------------------------------------------------


class Server:
    """A server's and a gateway's doings, as the balancer sees them."""

    def __init__(self, parts, target, least, most):  # noqa: F811
        self.peer = parts.peer("faas_lb.sock")
        self.peer.send("LB_HELLO", role=ROLE_SERVER, target=target, least=least, most=most)
        self.peer.expect("LB_TABLE")
        self.table, self.count = parts.table(), 0
        self.waiting_ns = self.answered = self.busy_ns = 0
        self.grow(target)

    def grow(self, target):
        for number in range(self.count, target):
            self.peer.send("LB_REGISTER", role=ROLE_SERVER, worker=number, pid=os.getpid() if number < 64 else 1)
            self.peer.expect("LB_REGISTERED", worker=number)
        self.count = max(self.count, target)

    def load(self, waiting, share=1.0):
        """Writes the gateway's words, as of now; all workers run calls for that share of the time, and sleep."""
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        passed_ns, self.at_ns = now_ns - getattr(self, "at_ns", now_ns), now_ns
        self.busy_ns += int(passed_ns * share)
        self.waiting_ns += waiting * passed_ns
        self.answered += 1
        for number in range(self.count):
            struct.pack_into("<Q", self.table.memory, 64 + 64 * number + 48, self.busy_ns)
        struct.pack_into("<QQQQQQ", self.table.memory, LOAD, now_ns, self.waiting_ns, self.answered,
                         0, 0, 200_000_000 if waiting else 0)  # fmt: skip

    @property
    def shown(self):
        return dict(zip(("target", "least", "most"), struct.unpack_from("<III", self.table.memory, SCALING)))

    def told(self):
        """What the balancer wants, when it has said something new."""
        return None if self.peer.quiet() else self.peer.expect("LB_SCALE").target


def balancer_with(parts, period_s=1):  # noqa: F811
    process = parts.start("load_balancer", "--scale-down-s", str(period_s))
    process.wait_line(r"load_balancer: waiting for worker registrations from server\.\.\.")
    return process


def test_it_asks_for_more_and_then_for_fewer(parts):  # noqa: F811
    balancer_with(parts)
    server = Server(parts, 2, 2, 8)
    assert server.shown == {"target": 2, "least": 2, "most": 8}
    targets = []
    while not targets or targets[-1] < 8:

        def more():
            server.load(20)
            return server.told()

        targets.append(faas.wait_until(more, 5, "more workers"))
        server.grow(targets[-1])
        assert server.shown["target"] == targets[-1]
    assert targets == [4, 8]
    while targets[-1] > 2:
        targets.append(faas.wait_until(server.told, 5, "fewer workers"))
        for number in range(targets[-1], server.count):
            server.peer.send("LB_GONE", role=ROLE_SERVER, worker=number, pid=os.getpid())
        server.count = targets[-1]
        faas.wait_until(lambda: server.table.state(server.count) == EMPTY, 5, "its row is empty")
    assert targets == [4, 8, 7, 6, 5, 4, 3, 2]


def test_one_that_died_is_gone_and_one_that_was_retired_was_never_there(parts):  # noqa: F811
    balancer_with(parts)
    server = Server(parts, 3, 2, 8)
    pid = os.getpid()
    server.peer.send("LB_GONE", role=ROLE_SERVER, worker=2, pid=pid, code=CODES["ERR_CRASH"])
    faas.wait_until(lambda: server.table.state(2) == GONE, 5, "gone")
    server.peer.send("LB_REGISTER", role=ROLE_SERVER, worker=2, pid=pid + 1, generation=1)
    faas.wait_until(lambda: server.table.state(2) == READY, 5, "ready")
    assert server.table.row(2)["restarts"] == 1
    server.peer.send("LB_GONE", role=ROLE_SERVER, worker=2, pid=pid + 1)
    faas.wait_until(lambda: server.table.state(2) == EMPTY, 5, "empty")
    server.peer.send("LB_REGISTER", role=ROLE_SERVER, worker=2, pid=pid + 2)
    faas.wait_until(lambda: server.table.state(2) == READY, 5, "ready")
    assert server.table.row(2)["restarts"] == 0


def test_a_server_s_bounds_are_put_right(parts):  # noqa: F811
    balancer_with(parts)
    for target, least, most, shown in ((9, 2, 8, (8, 2, 8)), (0, 0, 0, (1, 1, 1)), (70, 1, 100, (64, 1, 64)),
                                       (4, 6, 2, (2, 2, 2))):  # fmt: skip
        peer = parts.peer("faas_lb.sock")
        peer.send("LB_HELLO", role=ROLE_SERVER, target=target, least=least, most=most)
        peer.expect("LB_TABLE")
        found = struct.unpack_from("<III", Table(parts.peer("faas_lb.sock")).memory, SCALING)
        assert found == shown

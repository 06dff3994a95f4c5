"""load_balancer and server without the gateway: this test stands in its place, on the two sockets and on the pipes."""

import mmap
import os
import re
import select
import shutil
import signal
import socket
import struct
import time

import pytest

import faas

MESSAGE = struct.Struct("<4BIIiIIii3I9I256s")
LIMITS = {"timeout_ms": 10000, "memory_mb": 128, "concurrency": 0, "output_mb": 16, "processes": 64, "tmp_mb": 64,
          "cpu_ms": 0, "payload_kb": 0, "queue": 1024}
ROLE_GATEWAY = 2
NODE, PYTHON = 1, 2
FRAME = struct.Struct("<IBBHQIIQ")
LOAD, CALL, ANSWER = 1, 3, 4
SENT, RUNNING = 1, 2
TABLE_ROW = struct.Struct("<IIIiI4xQQQ")  # of 64 bytes
EMPTY, READY, STALLED, GONE = range(4)
REQUEST = 4000000001


def numbers_of(header, pattern):
    return {m[1]: int(m[2]) for m in re.finditer(pattern, (faas.ROOT / "src" / header).read_text())}


TYPES = numbers_of("wire/message.h", r"X\(((?:LB|SERVER|WORKER)_\w+), (\d+),")
CODES = {name: i for i, name in enumerate(re.findall(r"X\((ERR_\w+), \d+", (faas.ROOT / "src/base/err_table.h").read_text()))}


class Message:
    FIELDS = ("type", "format", "role", "runtime", "worker", "generation", "pid", "weight", "request", "status", "code",
              "target", "least", "most")

    def __init__(self, data, fds):
        values = MESSAGE.unpack(data)
        for name, value in zip(self.FIELDS, values):
            setattr(self, name, value)
        self.text = values[-1].split(b"\0")[0].decode()
        self.kind = next(name for name, number in TYPES.items() if number == self.type)
        self.fds = fds

    def __repr__(self):
        return f"<{self.kind} worker {self.worker} pid {self.pid} gen {self.generation} code {self.code} {self.text!r}>"


class Peer:
    """The gateway's end of one of the two sockets."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(15)
        faas.wait_until(lambda: self._connect(path), 10, f"connected to {path}")
        self.waiting = []

    def _connect(self, path):
        try:
            self.socket.connect(str(path))
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def send(self, kind, text="", role=ROLE_GATEWAY, **fields):
        limits = {**LIMITS, **{k: fields.pop(k) for k in list(fields) if k in LIMITS}}
        get = lambda name: fields.get(name, 0)  # noqa: E731
        self.socket.send(MESSAGE.pack(
            TYPES[kind], 1, role, get("runtime"), get("worker"), get("generation"), get("pid"), get("weight"),
            get("request"), 0, get("code"), get("target"), get("least"), get("most"), *limits.values(), text.encode()))  # fmt: skip
        return self

    def next(self):
        """The next message; None at the end of the connection."""
        try:
            data, fds, flags, _ = socket.recv_fds(self.socket, MESSAGE.size + 1, 16)
        except ConnectionResetError:
            return None
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        return Message(data, fds) if data else None

    def expect(self, kind, **fields):
        """The next message of that kind and those fields; others wait for whoever expects them."""

        def fits(message):
            return message.kind == kind and all(getattr(message, k) == v for k, v in fields.items())

        for message in self.waiting:
            if fits(message):
                self.waiting.remove(message)
                return message
        while message := self.next():
            if fits(message):
                return message
            self.waiting.append(message)
        raise AssertionError(f"the connection ended before {kind} {fields}; waiting: {self.waiting}")

    def quiet(self):
        return not self.waiting and not select.select([self.socket], [], [], 0)[0]

    def close(self):
        self.socket.close()
        for message in self.waiting:
            close_all(message.fds)


def close_all(fds):
    for fd in fds:
        os.close(fd)


def readable(fd, timeout_s=10.0):
    return bool(select.select([fd], [], [], timeout_s)[0])


def read_exactly(fd, size):
    data = b""
    while len(data) < size:
        assert readable(fd), "nothing comes"
        part = os.read(fd, size - len(data))
        assert part, "the pipe ended"
        data += part
    return data


def read_to_end(fd):
    data = b""
    while readable(fd) and (part := os.read(fd, 65536)):
        data += part
    return data


def frame(kind, call_id=0, slot=0, key=1, head=b"", body=b""):
    return FRAME.pack(len(head) + len(body), kind, 1, slot, call_id, key, len(head), 0) + head + body


def head(**entries):
    return b"".join(f"{name.replace('__', '.')}={value}\0".encode() for name, value in entries.items())


def broken(fd):
    try:
        os.write(fd, b"x")
        return False
    except BrokenPipeError:
        return True


class Worker:
    """The gateway's ends of a WASM worker."""

    def __init__(self, message):
        self.number, self.pid, self.generation = message.worker, message.pid, message.generation
        self.weight = message.weight
        self.calls, self.answers, page, self.pidfd = message.fds
        self.page = mmap.mmap(page, 4096)
        os.close(page)

    def admit(self, call_id):
        """A call is about to be sent."""
        struct.pack_into("<Q", self.page, 64, call_id << 2 | SENT)

    def free(self):
        """Its answer was taken."""
        struct.pack_into("<Q", self.page, 64, 0)

    def call(self, call_id):
        """A call of a function that the worker does not know is answered with an error: by that it shows that the
        pipes and the page reach it."""
        self.admit(call_id)
        os.write(self.calls, frame(CALL, call_id, head=head(FAAS_CALL_ID="x")))
        length, kind, _, _, answered, _, _, _ = FRAME.unpack(read_exactly(self.answers, FRAME.size))
        payload = read_exactly(self.answers, length)
        assert (kind, answered) == (ANSWER, call_id)
        assert struct.unpack_from("<Q", self.page, 64)[0] == call_id << 2 | RUNNING
        return struct.unpack_from("<I", payload)[0]

    def serves(self, call_id=7):
        return self.call(call_id) == CODES["ERR_INTERNAL"]

    def close(self):
        close_all([self.calls, self.answers, self.pidfd])
        self.page.close()


class Process:
    """The gateway's ends of a Node.js or Python process."""

    def __init__(self, message):
        self.number, self.pid = message.worker, message.pid
        self.calls, self.answers, page, self.pidfd, self.stdin, self.stdout, self.stderr = message.fds
        os.close(page)
        self.fds = [self.calls, self.answers, self.pidfd, self.stdin, self.stdout, self.stderr]

    def run_script(self, source, payload=b""):
        """Sends a plain script and its one call; returns what it printed."""
        os.write(self.stdin, payload)
        self.drop(self.stdin)
        load = frame(LOAD, head=head(FAAS_FUNCTION="f", FAAS_VERSION=1, entry="script"), body=source.encode())
        os.write(self.calls, load + frame(CALL, 5, head=head(FAAS_CALL_ID="x")))
        return read_to_end(self.stdout)

    def drop(self, fd):
        os.close(fd)
        self.fds.remove(fd)

    def close(self):
        close_all(self.fds)


class Table:
    def __init__(self, peer):
        peer.send("LB_HELLO")
        fd = peer.expect("LB_TABLE").fds[0]
        self.memory = mmap.mmap(fd, os.fstat(fd).st_size)
        os.close(fd)

    def row(self, number):
        names = ("state", "weight", "generation", "pid", "in_flight", "calls", "mean_ns", "restarts")
        return dict(zip(names, TABLE_ROW.unpack_from(self.memory, 64 + 64 * number)))

    def state(self, number):
        return self.row(number)["state"]

    def set_in_flight(self, number, count):
        struct.pack_into("<I", self.memory, 64 + 64 * number + 16, count)

    def add_call(self, number):
        calls = self.row(number)["calls"]
        struct.pack_into("<Q", self.memory, 64 + 64 * number + 24, calls + 1)

    @property
    def strategy(self):
        return struct.unpack_from("<I", self.memory, 12)[0]

    @property
    def heartbeat(self):
        return struct.unpack_from("<Q", self.memory, 16)[0]


class Parts:
    """server and load_balancer in a directory of their own."""

    def __init__(self, start_process, tmp_path):
        self.start_process, self.home, self.bin = start_process, tmp_path, faas.BIN
        self.run_dir = tmp_path / "run"
        self.peers, self.ends = [], []
        self.env = {"FAAS_RUN_DIR": self.run_dir, "FAAS_DATA_DIR": tmp_path / "data", "FAAS_LOG_DIR": tmp_path / "log",
                    "FAAS_WORKERS": 2, "FAAS_CONFIG": "/dev/null"}  # fmt: skip

    def start(self, name, *args, **env):
        environment = faas.clean_env(**{**self.env, **env})
        return self.start_process([self.bin / name, *args], environment, self.home)

    def server(self, **env):
        process = self.start("server", **env)
        process.wait_line(r"server: listening on .*")
        return process

    def balancer(self, *args):
        process = self.start("load_balancer", *args)
        process.wait_line(r"load_balancer: waiting for worker registrations from server\.\.\.")
        return process

    def peer(self, socket_name):
        self.peers.append(Peer(self.run_dir / socket_name))
        return self.peers[-1]

    def gateway(self):
        return self.peer("faas_server.sock").send("SERVER_HELLO")

    def table(self):
        return Table(self.peer("faas_lb.sock"))

    def worker(self, gateway, **fields):
        self.ends.append(Worker(gateway.expect("SERVER_WORKER", **fields)))
        return self.ends[-1]

    def workers(self, gateway, count=2):
        return [self.worker(gateway, worker=number) for number in range(count)]

    def process(self, gateway, runtime, **limits):
        gateway.send("SERVER_START", runtime=runtime, request=REQUEST, **limits)
        message = gateway.expect("SERVER_PROCESS", request=REQUEST)
        assert message.runtime == runtime
        self.ends.append(Process(message))
        return self.ends[-1]

    def let_go(self, end):
        end.close()
        self.ends.remove(end)

    def close(self):
        for one in self.peers + self.ends:
            one.close()


@pytest.fixture
def parts(start_process, tmp_path):
    made = Parts(start_process, tmp_path)
    yield made
    made.close()


def alive(pid):
    proc = faas.read_proc(pid)
    return bool(proc) and proc.state not in "ZX"


def gone(pid, timeout_s=10.0):
    faas.wait_until(lambda: not alive(pid), timeout_s, f"{pid} gone")


# --- workers ----------------------------------------------------------------------------------------------------------


def test_gateway_gets_pipes_page_and_pidfd_of_every_worker_even_without_a_balancer(parts):
    server = parts.server(FAAS_WEIGHTS="3")
    workers = parts.workers(parts.gateway())
    assert [w.weight for w in workers] == [3, 1]
    for worker in workers:
        assert faas.read_proc(worker.pid).comm == "worker" and worker.serves()
        assert server.match(rf"server: created worker {worker.number} \(pid {worker.pid}\)")
        signal.pidfd_send_signal(worker.pidfd, 0)


def test_server_keeps_no_end_of_the_pipes(parts):
    parts.server()
    worker = parts.workers(parts.gateway())[0]
    os.kill(worker.pid, signal.SIGKILL)
    assert readable(worker.answers) and os.read(worker.answers, 1) == b""
    faas.wait_until(lambda: select.select([], [worker.calls], [], 0)[1] and broken(worker.calls), 5, "broken pipe")


def test_a_worker_that_was_ready_is_replaced_at_once(parts):
    parts.server()
    gateway = parts.gateway()
    old = parts.workers(gateway)[1]
    took = []
    for generation in range(1, 6):
        begun = time.monotonic()
        os.kill(old.pid, signal.SIGKILL)
        message = gateway.expect("SERVER_GONE", worker=1)
        assert (message.pid, message.status, message.code) == (old.pid, signal.SIGKILL, CODES["ERR_CRASH"])
        new = parts.worker(gateway, worker=1)
        took.append(time.monotonic() - begun)
        assert new.generation == generation and new.pid != old.pid and new.serves()
        old = new
    print("killed to replaced, s:", took)
    assert min(took) < 0.1 * faas.PATIENCE, took


def test_a_worker_that_never_is_ready_is_tried_less_and_less_often(parts, tmp_path):
    parts.bin = tmp_path / "bin"
    parts.bin.mkdir()
    for name in ("server", "load_balancer"):
        shutil.copy(faas.BIN / name, parts.bin / name)
    worker = parts.bin / "worker"
    worker.write_text("#!/bin/sh\nexit 3\n")
    worker.chmod(0o755)
    server = parts.server(FAAS_WORKERS=1)
    for wait_ms in (100, 200, 400, 800):
        server.wait_line(rf"server: worker 0 is tried again in {wait_ms} ms")
    assert server.match(r"server: worker 0 \(pid \d+\) ended before it was ready: exit code 3")
    # What was wrong is put right: nobody has to start anything again.
    worker.unlink()
    shutil.copy(faas.BIN / "worker", parts.bin / "worker.new")
    (parts.bin / "worker.new").rename(worker)
    assert parts.worker(parts.gateway(), worker=0).serves()


def test_the_next_gateway_gets_new_pipes_of_the_same_workers(parts):
    parts.server()
    gateway = parts.gateway()
    before = parts.workers(gateway)
    assert before[0].serves()
    for worker in before:
        parts.let_go(worker)
    gateway.close()
    parts.peers.remove(gateway)
    after = parts.workers(parts.gateway())
    assert [w.pid for w in after] == [w.pid for w in before]
    assert all(w.serves(8) for w in after)


def test_the_next_gateway_gets_each_worker_when_the_one_before_lets_go_of_it(parts):
    parts.server()
    old = parts.gateway()
    workers = parts.workers(old)
    old.expect("SERVER_RUNTIMES")
    new = parts.gateway()
    new.expect("SERVER_RUNTIMES")
    assert all(w.serves() for w in workers) and new.quiet()
    for worker in workers:
        parts.let_go(worker)
        got = parts.worker(new, worker=worker.number)
        assert got.serves() and got.pid == worker.pid
    assert old.quiet()


def test_a_gateway_keeps_its_processes_when_the_next_has_come(parts):
    parts.server()
    old = parts.gateway()
    process = parts.process(old, PYTHON)
    new = parts.gateway()
    new.expect("SERVER_RUNTIMES")
    assert process.run_script("print('still here')") == b"still here\n"
    assert old.expect("SERVER_GONE").worker == process.number
    taken = parts.process(old, PYTHON)
    new.send("SERVER_ADOPT", worker=taken.number, pid=taken.pid)
    parts.process(new, PYTHON)  # the server has read it
    old.close()
    parts.peers.remove(old)
    time.sleep(1.2)  # longer than processes are left to a gateway that is gone
    assert taken.run_script("print('adopted')") == b"adopted\n"
    assert new.expect("SERVER_GONE").worker == taken.number


def test_workers_outlive_their_server_and_end_with_the_gateway(parts):
    server = parts.server()
    gateway = parts.gateway()
    workers = parts.workers(gateway)
    assert gateway.expect("SERVER_RUNTIMES")
    server.popen.kill()
    server.wait()
    assert gateway.next() is None
    assert all(w.serves() for w in workers)
    for worker in workers:
        parts.let_go(worker)
        gone(worker.pid)


def test_a_new_server_does_not_touch_the_workers_of_a_dead_one(parts):
    first = parts.server()
    old = parts.workers(parts.gateway())
    first.popen.kill()
    first.wait()
    parts.server()
    new = parts.workers(parts.gateway())
    assert not {w.pid for w in old} & {w.pid for w in new}
    assert all(w.serves() for w in old + new)


def test_nonsense_closes_only_its_own_connection(parts):
    parts.server()
    gateway = parts.gateway()
    workers = parts.workers(gateway)
    stranger = parts.peer("faas_server.sock")
    stranger.socket.send(b"GET / HTTP/1.1\r\n\r\n")
    assert stranger.next() is None
    stranger = parts.peer("faas_server.sock").send("SERVER_START", runtime=PYTHON)
    assert stranger.next() is None
    assert all(w.serves() for w in workers)


# --- the load balancer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["server", "load_balancer"])
def test_workers_are_registered_in_either_order_of_start(parts, first):
    if first == "server":
        server, balancer = parts.server(), None
        workers = parts.workers(parts.gateway())
        balancer = parts.balancer()
    else:
        balancer, server = parts.balancer(), parts.server()
        workers = parts.workers(parts.gateway())
    for w in workers:
        balancer.wait_line(rf"lb: registered worker {w.number} \(pid {w.pid}\)")
        server.wait_line(rf"server: registered worker {w.number} with load balancer")
    server.wait_line(r"server: 2 workers ready, forwarding requests to load balancer")
    table = parts.table()
    for w in workers:
        row = table.row(w.number)
        assert (row["state"], row["pid"], row["weight"], row["restarts"]) == (READY, w.pid, 1, 0)
    assert table.state(2) == EMPTY


def test_a_new_balancer_gets_all_workers_again(parts):
    balancer, _ = parts.balancer(), parts.server()
    gateway = parts.gateway()
    workers = parts.workers(gateway)
    for w in workers:
        balancer.wait_line(rf"lb: registered worker {w.number} \(pid {w.pid}\)")
    for _ in range(3):
        balancer.popen.kill()
        balancer.wait()
        begun = time.monotonic()
        balancer = parts.balancer()
        for w in workers:
            balancer.wait_line(rf"lb: registered worker {w.number} \(pid {w.pid}\)")
        assert time.monotonic() - begun < 0.5 * faas.PATIENCE
    assert [parts.table().row(w.number)["pid"] for w in workers] == [w.pid for w in workers]


def test_the_table_follows_workers_that_die_and_come_back(parts):
    balancer, _ = parts.balancer(), parts.server()
    gateway = parts.gateway()
    table, old = parts.table(), parts.workers(gateway)[0]
    balancer.wait_line(rf"lb: registered worker 0 \(pid {old.pid}\)")
    os.kill(old.pid, signal.SIGKILL)
    new = parts.worker(gateway, worker=0)
    balancer.wait_line(rf"lb: registered worker 0 \(pid {new.pid}\)")
    row = table.row(0)
    assert (row["state"], row["pid"], row["generation"], row["restarts"]) == (READY, new.pid, 1, 1)


def test_rows_stay_usable_without_the_server_until_the_next_one_registers(parts):
    balancer, server = parts.balancer(), parts.server()
    gateway, table = parts.gateway(), parts.table()
    parts.workers(gateway)
    server.wait_line(r"server: 2 workers ready, forwarding requests to load balancer")
    server.popen.kill()
    server.wait()
    balancer.wait_line(r"load_balancer: lost the server .*")
    assert [table.state(i) for i in range(3)] == [READY, READY, EMPTY]
    parts.server(FAAS_WORKERS=1).wait_line(r"server: 1 workers ready, forwarding requests to load balancer")
    assert [table.state(i) for i in range(3)] == [READY, GONE, EMPTY]


def test_a_worker_without_progress_is_stalled_until_it_moves(parts):
    parts.balancer()
    parts.server().wait_line(r"server: 2 workers ready, forwarding requests to load balancer")
    table = parts.table()
    begun = time.monotonic()
    table.set_in_flight(1, 3)
    faas.wait_until(lambda: table.state(1) == STALLED, 5, "stalled")
    assert 0.9 <= time.monotonic() - begun < 1.4 * faas.PATIENCE
    assert table.state(0) == READY
    table.add_call(1)
    faas.wait_until(lambda: table.state(1) == READY, 1 * faas.PATIENCE, "ready again")
    faas.wait_until(lambda: table.state(1) == STALLED, 5, "stalled again")
    table.set_in_flight(1, 0)
    faas.wait_until(lambda: table.state(1) == READY, 1 * faas.PATIENCE, "ready when idle")


def test_strategy_from_the_command_line_and_while_running(parts):
    parts.start("load_balancer", "weighted").wait_line(r"load_balancer: listening on .*lb\.sock \(WEIGHTED strategy\)")
    peer = parts.peer("faas_lb.sock")
    table = Table(peer)
    assert table.strategy == 2
    for number, name in ((1, "FIFO"), (0, "rr")):
        peer.send("LB_STRATEGY", text=name, request=number)
        answer = peer.expect("LB_STRATEGY_SET", request=number)
        assert (answer.code, answer.text) == (CODES["ERR_OK"], name.upper()) and table.strategy == number
    answer = peer.send("LB_STRATEGY", text="LIFO", request=9).expect("LB_STRATEGY_SET", request=9)
    assert answer.code == CODES["ERR_BAD_REQUEST"] and "WEIGHTED" in answer.text and table.strategy == 0


def test_only_a_server_registers_workers(parts):
    parts.balancer()
    peer = parts.peer("faas_lb.sock").send("LB_HELLO")
    peer.expect("LB_TABLE")
    peer.send("LB_REGISTER", worker=0, pid=1)
    assert peer.next() is None
    assert parts.table().state(0) == EMPTY


def test_a_second_one_is_refused_and_a_stale_socket_replaced(parts):
    for name in ("load_balancer", "server"):
        first = parts.start(name)
        first.wait_line(rf"{name}: listening on .*")
        second = parts.start(name)
        assert second.wait() == 1 and "in use by a running instance" in second.text()
        first.popen.kill()
        first.wait()
        third = parts.start(name)
        third.wait_line(rf"{name}: listening on .*")
        third.signal(signal.SIGTERM)
        assert third.wait() == 0
    assert not list(parts.run_dir.iterdir())


# --- processes of Node.js and Python ----------------------------------------------------------------------------------

PRINT_PID = {NODE: "console.log(process.pid)", PYTHON: "import os\nprint(os.getpid())\n"}
EXIT_3 = {NODE: "process.exit(3)", PYTHON: "import sys\nsys.exit(3)\n"}


def spares(server, runtime):
    """Inits of the spare processes."""
    name = {NODE: "spare-node", PYTHON: "spare-python"}[runtime]
    return {p.pid for p in faas.all_procs() if p.ppid == server.pid and p.comm == name}


@pytest.mark.parametrize("runtime", [NODE, PYTHON])
def test_spares_are_booted_ahead_used_and_refilled(parts, runtime):
    server = parts.server()
    gateway = parts.gateway()
    assert gateway.expect("SERVER_RUNTIMES").text == ""
    before = faas.wait_until(lambda: len(s := spares(server, runtime)) == 2 and s, 10, "two spares")
    process = parts.process(gateway, runtime)
    assert process.pid in before and process.number >= 1000
    faas.wait_until(lambda: len(spares(server, runtime) - {process.pid}) == 2, 10, "refilled")
    other = parts.process(gateway, runtime, memory_mb=64)
    assert other.pid not in before and other.number != process.number


@pytest.mark.parametrize("runtime", [NODE, PYTHON])
def test_a_script_gets_its_payload_and_its_end_is_told_with_the_status(parts, runtime):
    parts.server()
    gateway = parts.gateway()
    pids, delays = set(), []
    for _ in range(6):
        process = parts.process(gateway, runtime)
        pids.add(process.run_script(PRINT_PID[runtime]))
        ended = readable(process.pidfd) and time.monotonic()
        message = gateway.expect("SERVER_GONE", worker=process.number)
        delays.append(time.monotonic() - ended)
        assert (message.pid, message.status) == (process.pid, 0)
        parts.let_go(process)
    assert len(pids) == 6, "two calls shared a pid"
    print("end of the process to its status, ms:", [round(d * 1000, 2) for d in delays])
    assert min(delays) < 0.005 * faas.PATIENCE
    process = parts.process(gateway, runtime)
    process.run_script(EXIT_3[runtime])
    message = gateway.expect("SERVER_GONE", worker=process.number)
    assert os.waitstatus_to_exitcode(message.status) == 3 and message.code == CODES["ERR_CRASH"]


def test_a_process_that_is_killed_says_so(parts):
    parts.server()
    gateway = parts.gateway()
    process = parts.process(gateway, PYTHON)
    signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    message = gateway.expect("SERVER_GONE", worker=process.number)
    assert message.status == signal.SIGKILL and message.code == CODES["ERR_CRASH"]


def has_memory_limit(process):
    groups = (faas.Path(f"/proc/{process.pid}/cgroup")).read_text()
    return "minifaas" in groups


def test_what_the_memory_limit_killed_is_told_as_oom(parts):
    parts.server()
    gateway = parts.gateway()
    process = parts.process(gateway, PYTHON, memory_mb=16, tmp_mb=0)
    if not has_memory_limit(process):
        pytest.skip("no writable memory control group here")
    # RLIMIT_DATA holds each process; together they go over the group's limit.
    source = ("import os, time\nchildren = []\nfor i in range(6):\n    pid = os.fork()\n    if pid == 0:\n"
              "        x = bytearray(b'x' * (24 << 20))\n        time.sleep(60)\n    children.append(pid)\n"
              "for c in children:\n    _, s = os.waitpid(c, 0)\n    if s:\n        os._exit(1)\n")  # fmt: skip
    process.run_script(source)
    message = gateway.expect("SERVER_GONE", worker=process.number)
    assert message.code == CODES["ERR_OOM"], message


def test_processes_end_with_the_gateway_and_spares_stay(parts):
    server = parts.server()
    gateway = parts.gateway()
    kept = faas.wait_until(lambda: len(s := spares(server, PYTHON)) == 2 and s, 10, "two spares")
    polite, stubborn = parts.process(gateway, PYTHON), parts.process(gateway, PYTHON)
    kept = faas.wait_until(lambda: len(s := spares(server, PYTHON) - kept) == 2 and s, 10, "refilled")
    load = head(FAAS_FUNCTION="f", FAAS_VERSION=1, entry="script")
    source = b"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)\n"
    os.write(stubborn.calls, frame(LOAD, head=load, body=source) + frame(CALL, 5, head=head(FAAS_CALL_ID="x")))
    assert read_exactly(stubborn.stdout, 2) == b"up"
    begun = time.monotonic()
    for process in (polite, stubborn):
        parts.let_go(process)
    gateway.close()
    parts.peers.remove(gateway)
    gone(polite.pid, 5)
    gone(stubborn.pid, 5)
    assert 0.9 < time.monotonic() - begun < 2 * faas.PATIENCE
    assert all(alive(pid) for pid in kept)


def test_spares_end_when_the_server_is_killed(parts):
    server = parts.server()
    kept = faas.wait_until(lambda: len(s := spares(server, PYTHON) | spares(server, NODE)) == 4 and s, 10, "spares")
    server.popen.kill()
    server.wait()
    for pid in kept:
        gone(pid)


def test_a_runtime_without_processes_is_refused(parts):
    parts.server()
    gateway = parts.gateway().send("SERVER_START", runtime=0, request=3)
    answer = gateway.expect("SERVER_START_FAILED", request=3)
    assert answer.code == CODES["ERR_BAD_REQUEST"] and answer.text


# --- end and idleness -------------------------------------------------------------------------------------------------


def test_an_idle_server_ends_at_once_and_leaves_nothing(parts):
    took = []
    for _ in range(3):
        server = parts.server()
        gateway = parts.gateway()
        workers = parts.workers(gateway)
        kept = faas.wait_until(lambda: len(s := spares(server, PYTHON) | spares(server, NODE)) == 4 and s, 10, "spares")
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        gateway.expect("SERVER_DRAINING")
        for worker in workers:
            parts.let_go(worker)
        assert server.wait() == 0
        took.append(time.monotonic() - begun)
        assert not list(parts.run_dir.iterdir())
        assert not any(alive(pid) for pid in [w.pid for w in workers] + list(kept))
    print("SIGTERM to gone, s:", took)
    assert min(took) < 0.1 * faas.PATIENCE, took


def test_a_draining_server_waits_for_calls_and_a_second_signal_does_not(parts):
    server = parts.server()
    gateway = parts.gateway()
    workers = parts.workers(gateway)
    process = parts.process(gateway, PYTHON)
    for worker in workers:
        worker.admit(7)
    server.signal(signal.SIGTERM)
    gateway.expect("SERVER_DRAINING")
    gateway.send("SERVER_START", runtime=PYTHON, request=8)
    assert gateway.expect("SERVER_START_FAILED", request=8).code == CODES["ERR_DRAINING"]
    # Its first worker has ended its call and goes; the other waits for the answer of its own.
    worker = workers.pop(0)
    assert worker.serves(7)
    worker.free()
    gateway.expect("SERVER_GONE", worker=worker.number)
    assert workers[0].serves(7) and alive(process.pid)
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    for pid in [w.pid for w in workers] + [process.pid]:
        assert not alive(pid)


def test_idle_workers_end_even_when_the_gateway_holds_on_to_them(parts):
    server = parts.server()
    workers = parts.workers(parts.gateway())
    begun = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - begun < 0.5 * faas.PATIENCE
    assert not any(alive(w.pid) for w in workers)


def switches(pid):
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M)[1])


def test_an_idle_server_does_not_wake_up(parts):
    balancer, server = parts.balancer(), parts.server()
    server.wait_line(r"server: 2 workers ready, forwarding requests to load balancer")
    workers = [p.pid for p in faas.all_procs() if p.ppid == server.pid and p.comm == "worker"]
    faas.wait_until(lambda: len(spares(server, PYTHON) | spares(server, NODE)) == 4, 10, "spares")
    table = parts.table()

    def beats(count):
        """The balancer's heartbeat is the clock: every 100 ms."""
        begun = table.heartbeat
        faas.wait_until(lambda: table.heartbeat - begun > count * 100_000_000, 10, "heartbeats")

    def still():
        before = {pid: switches(pid) for pid in [server.pid, *workers]}
        mine = switches(balancer.pid)
        beats(5)
        assert switches(balancer.pid) - mine < 10
        return before == {pid: switches(pid) for pid in before}

    faas.wait_until(still, 10, "half a second without a wake-up")

"""A process of runtimes/ as the server starts it: pipes on descriptors 0 to 4, the page on 5, frames on 3 and 4.

What is done here is docs/protocol.md, "Frames" and "Processes of Node.js and Python", from the gateway's side.
"""

import fcntl
import json
import mmap
import os
import re
import select
import shutil
import struct
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = Path(os.environ.get("FAAS_RUNTIMES", ROOT / "runtimes"))


def interpreter(variable, name):
    """The one of the system, as the server chooses it, unless the variable names another."""
    system = "/usr/bin/" + name
    return os.environ.get(variable) or (system if os.access(system, os.X_OK) else shutil.which(name))


PYTHON = interpreter("FAAS_TEST_PYTHON", "python3")
NODE = interpreter("FAAS_TEST_NODE", "node")

HEADER = struct.Struct("<IBBHQIIQ")
FIXED = struct.Struct("<IiIIIIQQ")
LOAD, UNLOAD, CALL, ANSWER, LOADED, SKIPPED = 1, 2, 3, 4, 5, 6
COLD, LAST = 1, 2
WAIT_S = 30.0
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
PIPE_BYTES = 64 << 10  # what fits into a pipe that nobody reads


def error_codes():
    table = (ROOT / "src/base/err_table.h").read_text()
    return {name: number for number, name in enumerate(re.findall(r"X\((ERR_\w+), \d+", table))}


CODES = error_codes()
CODE_NAMES = {number: name for name, number in CODES.items()}


def make_head(entries):
    parts = []
    for name, value in entries:
        name = name if isinstance(name, bytes) else name.encode()
        value = value if isinstance(value, bytes) else str(value).encode()
        parts.append(name + b"=" + value + b"\0")
    return b"".join(parts)


def make_frame(type_, head=b"", body=b"", call_id=0, slot=0, key=7, format_=1):
    return HEADER.pack(len(head) + len(body), type_, format_, slot, call_id, key, len(head), 0) + head + body


class Answer:
    def __init__(self, slot, call_id, payload):
        self.slot = slot
        self.call_id = call_id
        fixed = FIXED.unpack_from(payload)
        code, self.exit_code, head_len, output_len, log_len, self.flags, self.start_ns, self.run_ns = fixed
        assert FIXED.size + head_len + output_len + log_len == len(payload)
        self.code = CODE_NAMES[code]
        head = payload[FIXED.size : FIXED.size + head_len]
        assert not head or head.endswith(b"\0")
        self.head = [tuple(entry.split(b"=", 1)) for entry in head.split(b"\0")[:-1]]
        self.output = payload[FIXED.size + head_len : FIXED.size + head_len + output_len]
        self.log = payload[FIXED.size + head_len + output_len :].decode()

    def values(self, name):
        return [value.decode("latin-1") for key, value in self.head if key == name.encode()]

    def value(self, name):
        values = self.values(name)
        return values[0] if values else None

    @property
    def error(self):
        value = dict(self.head).get(b"error")
        return None if value is None else value.decode()

    @property
    def status(self):
        return int(self.value("status") or 200)

    def header(self, name):
        wanted = b"h:" + name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.head if key.lower() == wanted), None)

    def json(self):
        assert self.code == "ERR_OK", (self.code, self.error, self.log)
        return json.loads(self.output)


class Process:
    """One process of a runtime, with every pipe of it."""

    def __init__(self, argv, env=None, cwd="/tmp"):
        ends = [os.pipe2(os.O_CLOEXEC) for _ in range(5)]
        self.page_fd = os.memfd_create("page", os.MFD_CLOEXEC)
        os.ftruncate(self.page_fd, 4096)
        self.page = mmap.mmap(self.page_fd, 4096)
        child = [ends[0][0], ends[1][1], ends[2][1], ends[3][0], ends[4][1], self.page_fd]
        self.stdin, self.calls = ends[0][1], ends[3][1]
        self.stdout, self.stderr, self.answers = ends[1][0], ends[2][0], ends[4][0]
        self.pid = os.fork()
        if self.pid == 0:
            self.exec_child(child, argv, env or ENVIRONMENT, cwd)
        for fd in child[:5]:
            os.close(fd)
        self.pidfd = os.pidfd_open(self.pid)
        self.received = {self.stdout: bytearray(), self.stderr: bytearray(), self.answers: bytearray()}
        self.open = set(self.received)
        for fd in (self.stdin, self.calls, *self.received):
            os.set_blocking(fd, False)
        self.status = None
        self.next_id = 1
        self.sent_ids = []
        self.loads = 0

    @staticmethod
    def exec_child(fds, argv, env, cwd):
        try:
            os.chdir(cwd)
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]
            for number, fd in enumerate(high):
                os.dup2(fd, number)
            os.closerange(6, 256)
            os.execve(argv[0], argv, env)
        finally:
            os._exit(127)

    @property
    def out(self):
        return bytes(self.received[self.stdout])

    @property
    def err(self):
        return self.received[self.stderr].decode("utf-8", "replace")

    def comm(self):
        return Path(f"/proc/{self.pid}/comm").read_text().strip()

    def started(self):
        """Id of the call that was started last; the page has its place in the order of the calls."""
        number = struct.unpack("<Q", self.page[1024:1032])[0]
        return self.sent_ids[number - 1] if number else 0

    def outbox(self):
        """Its place in the stream of frames, and its bytes, once the seal says that they are whole."""
        at, length = struct.unpack_from("<QQ", self.page, 1032)
        data = self.page[1048 : 1048 + length]
        seal = struct.unpack_from("<Q", self.page, 1048 + length)[0]
        return (at, data) if length and seal == at + length else (at, b"")

    def withdraw(self, number):
        """All calls up to this one that have not started."""
        struct.pack_into("<Q", self.page, 0, number)

    def pump(self, done, wait_s=WAIT_S, writable=()):
        """Reads what comes until done() holds; AssertionError when it does not in time."""
        end = time.monotonic() + wait_s
        while not done():
            left = end - time.monotonic()
            assert left > 0, f"not in {wait_s} s; stderr: {self.err[-2000:]}"
            ready, _, _ = select.select([*self.open, self.pidfd], writable, [], min(left, 0.05))
            for fd in ready:
                if fd in self.open:
                    data = os.read(fd, 1 << 20)
                    if data:
                        self.received[fd] += data
                    else:
                        self.open.discard(fd)
            if self.pidfd in ready and not self.open and not done():
                raise AssertionError(f"the process ended; stderr: {self.err[-2000:]}")

    def write(self, fd, data):
        if not data:
            return
        view = memoryview(data)

        def step():
            nonlocal view
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                pass
            return not view

        self.pump(step, writable=[fd])

    def send(self, data):
        self.write(self.calls, data)

    def next_frame(self, wait_s=WAIT_S):
        data = self.received[self.answers]

        def whole():
            return len(data) >= HEADER.size and len(data) >= HEADER.size + HEADER.unpack_from(data)[0]

        self.pump(whole, wait_s)
        length, type_, format_, slot, call_id, key, head_len, spare = HEADER.unpack_from(data)
        assert (format_, head_len, spare) == (1, 0, 0)
        payload = bytes(data[HEADER.size : HEADER.size + length])
        del data[: HEADER.size + length]
        return type_, slot, call_id, key, payload

    def load_frame(self, source, entry, name="hello", module=False, limits=None, env=None):
        head = [("FAAS_FUNCTION", name), ("FAAS_VERSION", 3), ("id", name + "_1728435600"), ("entry", entry)]
        if module:
            head.append(("module", 1))
        values = {"timeout_ms": 10000, "memory_mb": 128, "concurrency": 0, "output_mb": 16, "processes": 64}
        for key, value in {**values, **(limits or {})}.items():
            head.append(("limit." + key, value))
        for key, value in (env or {}).items():
            head.append(("env." + key, value))
        body = source if isinstance(source, bytes) else source.encode()
        return make_frame(LOAD, make_head(head), body)

    def load(self, source, entry, **kw):
        self.send(self.load_frame(source, entry, **kw))
        type_, _, _, key, payload = self.next_frame()
        assert (type_, key, payload) == (LOADED, 7, b""), (type_, payload)
        return self

    def call_frame(self, body=b"", call_id=None, head=(), slot=5):
        if call_id is None:
            call_id = self.next_id = self.next_id + 1
        self.sent_ids.append(call_id)
        entries = [("FAAS_CALL_ID", f"call-{call_id}"), *head]
        return make_frame(CALL, make_head(entries), body, call_id=call_id, slot=slot)

    def answer(self, wait_s=WAIT_S):
        type_, slot, call_id, key, payload = self.next_frame(wait_s)
        assert (type_, key) == (ANSWER, 7)
        return Answer(slot, call_id, payload)

    def invoke(self, body=b"", **kw):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send(self.call_frame(body, **kw))
        answer = self.answer()
        assert (answer.slot, answer.call_id) == (5, self.next_id)
        assert self.started() == self.next_id
        return answer

    def http(self, method="GET", uri="/", headers=(), body=b"", prefix="/fn/hello", variables=None):
        self.send(self.call_frame(body, head=http_head(method, uri, headers, prefix, variables)))
        return self.answer()

    def wait(self, wait_s=WAIT_S):
        """Its wait status, after the ends of its output were read."""

        def gone():
            if self.status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.status = status
            return self.status is not None and not self.open

        self.pump(gone, wait_s)
        return os.waitstatus_to_exitcode(self.status)

    def end(self):
        """End of file on the frames: the process has to end by itself, with success."""
        os.close(self.calls)
        self.calls = -1
        return self.wait()

    def close(self):
        if self.status is None:
            try:
                os.kill(self.pid, 9)
            except ProcessLookupError:
                pass
            os.waitpid(self.pid, 0)
        self.page.close()
        for fd in (self.page_fd, self.pidfd, self.stdin, self.stdout, self.stderr, self.calls, self.answers):
            if fd >= 0:
                os.close(fd)


def check_finished_answers_do_not_wait(process):
    """The answer to a call is in the pipe or in the outbox while a long one behind it runs, and stays there when the
    process dies. A call with the payload "slow" takes a second."""
    process.send(process.call_frame(b"", call_id=11, slot=1) + process.call_frame(b'"slow"', call_id=12, slot=2))
    process.pump(lambda: process.started() == 12)
    os.kill(process.pid, 9)
    process.wait()
    at, data = process.outbox()
    written = bytes(process.received[process.answers])
    assert at <= HEADER.size + len(written) <= at + len(data)  # LOADED was read before
    (length, *header, head_len, spare) = HEADER.unpack_from(written + data[HEADER.size + len(written) - at :])
    assert header == [ANSWER, 1, 1, 11, 7]
    answer = Answer(1, 11, (written + data[HEADER.size + len(written) - at :])[HEADER.size :][:length])
    assert (answer.code, head_len, spare) == ("ERR_OK", 0, 0)


def check_withdrawn_calls_are_skipped(process):
    """A call with the payload "slow" takes a second."""
    bodies = (b"", b'"slow"', b"", b"")
    process.send(b"".join(process.call_frame(body, call_id=20 + i, slot=i) for i, body in enumerate(bodies)))
    process.pump(lambda: process.started() == 21)
    process.withdraw(3)
    for slot in (0, 1):
        answer = process.answer()
        assert (answer.slot, answer.call_id, answer.code) == (slot, 20 + slot, "ERR_OK")
    type_, slot, call_id, key, body = process.next_frame()
    assert (type_, slot, call_id, key, body) == (SKIPPED, 2, 22, 7, struct.pack("<Q", 3))
    assert process.answer().call_id == 23
    assert process.invoke().code == "ERR_OK"


def http_head(method="GET", uri="/", headers=(), prefix="/fn/hello", variables=None):
    from urllib.parse import unquote_to_bytes

    path, _, query = uri.partition("?")
    values = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(path),
        "QUERY_STRING": query,
        "SCRIPT_NAME": prefix,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "127.0.0.9",
        "REQUEST_URI": uri,
        **(variables or {}),
    }
    return [*values.items(), *(("h:" + name, value) for name, value in headers)]


def run_script(process, source, payload=b"", head=(), **kw):
    """A plain script's whole call: payload, LOAD and CALL, then its output to the end. Returns the exit code."""
    frames = process.load_frame(source, "script", **kw) + process.call_frame(call_id=77, head=head)
    at_once = payload[:PIPE_BYTES]
    process.write(process.stdin, at_once)
    process.send(frames)
    process.write(process.stdin, payload[PIPE_BYTES:])
    os.close(process.stdin)
    process.stdin = -1
    return process.wait()

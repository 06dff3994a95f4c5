"""An instance of Mini FaaS that belongs to a test, and the means to talk to it.

Everything here is a black box's view: the executables of MINIFAAS_BIN (default <repository>/build/bin), what they
print, /proc, and HTTP. Instances have directories and ports of their own, so any number of test runs may go on at once.
"""

import ctypes
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("MINIFAAS_BIN", ROOT / "build" / "bin")).resolve()
EXAMPLES = ROOT / "examples"

# Times that a test asserts are for an ordinary build; a sanitizer's may take that many times longer.
PATIENCE = 5 if "asan" in str(BIN) else 1

PLATFORM = ("minifaas", "load_balancer", "server", "api_gateway")
WORKERS = ("worker", "worker-node", "worker-python")

PR_SET_CHILD_SUBREAPER = 36
# What an instance leaves behind becomes our child, and is found.
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

_started = set()  # pids that Process objects own
_names = itertools.count(1)


def wait_until(condition, timeout_s=10.0, what="condition"):
    """Polls until condition() is true and returns its value; an AssertionError names what did not come."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what() if callable(what) else what}")
        time.sleep(0.01)


def unique_name(stem="f"):
    return f"{stem}-{os.getpid()}-{next(_names)}"


def parallel(count, function):
    """function(0) … function(count - 1), all at the same time; their results in order."""
    barrier = threading.Barrier(count)

    def run(index):
        barrier.wait()
        return function(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# --- processes -------------------------------------------------------------------------------------------------------


class Proc:
    def __init__(self, pid, ppid, comm, state):
        self.pid, self.ppid, self.comm, self.state = pid, ppid, comm, state

    def __repr__(self):
        return f"{self.comm}({self.pid}, parent {self.ppid}, {self.state})"


def read_proc(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    comm = stat[stat.index("(") + 1 : stat.rindex(")")]
    state, ppid = stat[stat.rindex(")") + 2 :].split()[:2]
    return Proc(int(pid), int(ppid), comm, state)


def all_procs():
    return [proc for pid in os.listdir("/proc") if pid.isdigit() and (proc := read_proc(pid))]


def descendants(root_pid):
    """Living processes below root_pid, itself first."""
    children = {}
    for proc in all_procs():
        children.setdefault(proc.ppid, []).append(proc)
    root = read_proc(root_pid)
    found, at = ([root] if root else []), 0
    while at < len(found):
        found += children.get(found[at].pid, [])
        at += 1
    return [proc for proc in found if proc.state not in "ZX"]


def orphans():
    """Living processes that an instance of ours left behind: its root is gone, so they are our children now."""
    left = []
    for proc in all_procs():
        if proc.ppid != os.getpid() or proc.pid in _started:
            continue
        if proc.state in "ZX":
            try:
                os.waitpid(proc.pid, os.WNOHANG)
            except ChildProcessError:
                pass
        elif proc.comm in PLATFORM + WORKERS + ("builder", "egress") or proc.comm.startswith("spare-"):
            left.append(proc)
    return left


def kill(pid, signum=signal.SIGKILL):
    """True when the process was still there."""
    try:
        os.kill(pid, signum)
        return True
    except ProcessLookupError:
        return False


class Process:
    """A program of ours with its output collected line by line."""

    def __init__(self, argv, env, cwd=None):
        self.argv = [str(arg) for arg in argv]
        self.lines = []
        self.popen = subprocess.Popen(
            self.argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self.pid = self.popen.pid
        _started.add(self.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))

    def text(self):
        return "\n".join(self.lines)

    def match(self, pattern):
        for line in list(self.lines):
            if found := re.fullmatch(pattern, line):
                return found
        return None

    def wait_line(self, pattern, timeout_s=15.0):
        def look():
            found = self.match(pattern)
            if not found and self.popen.poll() is not None:
                self._reader.join(1)
                if not (found := self.match(pattern)):
                    raise AssertionError(f"{self.argv} ended with {self.popen.returncode}:\n{self.text()}")
            return found

        return wait_until(look, timeout_s, lambda: f"line {pattern!r} from {self.argv}; it said:\n{self.text()}")

    def wait(self, timeout_s=10.0):
        code = self.popen.wait(timeout_s)
        self._reader.join(2)
        return code

    def signal(self, signum):
        if self.popen.poll() is None:
            self.popen.send_signal(signum)

    def kill_tree(self):
        """SIGKILL to the process and all below it, the root first so that it starts nothing again."""
        self.signal(signal.SIGSTOP)
        below = descendants(self.pid)
        self.signal(signal.SIGKILL)
        for proc in below:
            kill(proc.pid)
        if self.popen.poll() is None:
            self.popen.wait(10)

        def gone():
            orphans()  # process 1 of a pid namespace ends when the last of those in it was waited for, here by us
            return not [p for p in below if (q := read_proc(p.pid)) and q.state not in "ZX" and q.comm == p.comm]

        wait_until(gone, 10, "killed processes gone")


# --- HTTP ------------------------------------------------------------------------------------------------------------


class Answer:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:600]!r}>"

    def header(self, name):
        values = self.header_all(name)
        return values[0] if values else None

    def header_all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        assert (self.header("Content-Type") or "").startswith("application/json"), self
        return json.loads(self.body.decode("utf-8"), strict=True)

    @property
    def output(self):
        assert self.status == 200 and self.json["ok"] is True, self
        return self.json["output"]

    def assert_error(self, status, cause=None, *words):
        """An error of the platform or of a function, in the shape that every one of them has."""
        assert self.status == status, self
        value = self.json
        assert value["ok"] is False and isinstance(value["error"], str) and value["error"], self
        assert isinstance(value["cause"], str), self
        causes = (cause,) if isinstance(cause, str) else cause
        assert causes is None or value["cause"] in causes, self
        for word in words:
            assert word in value["error"], self
        return value


class Raw:
    """One connection, byte by byte."""

    def __init__(self, address, timeout_s=15.0):
        self.socket = socket.create_connection(address, timeout_s)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def answer(self, method="GET"):
        status_line = self.file.readline()
        assert status_line.startswith(b"HTTP/1."), status_line
        _, status, reason = status_line.decode("latin-1").rstrip("\r\n").split(" ", 2)
        headers = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            assert line.endswith(b"\r\n"), line
            name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
            headers.append((name, value.strip()))
        answer = Answer(int(status), reason, headers, b"")
        length = answer.header("Content-Length")
        if method != "HEAD" and answer.status >= 200 and answer.status not in (204, 304) and length:
            answer.body = self.file.read(int(length))
            assert len(answer.body) == int(length), "the body is cut off"
        return answer

    def request(self, method, path, body=b"", *headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: faas", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.answer(method)

    def at_end(self):
        """Waits for the other side to close."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


# --- an instance -----------------------------------------------------------------------------------------------------


class Function:
    def __init__(self, system, answer):
        self.system, self.info = system, answer.json
        self.name, self.id = self.info["name"], self.info["id"]

    def invoke(self, payload=b"", headers=None, fn=None, timeout_s=60):
        path = "/invoke?fn=" + urllib.parse.quote(fn or self.name)
        return self.system.request("POST", path, payload, headers, timeout_s)

    def http(self, method="GET", path="/", body=None, headers=None):
        return self.system.request(method, f"/fn/{self.name}{path}", body, headers)

    def describe(self):
        answer = self.system.request("GET", f"/function/{self.name}")
        assert answer.status == 200, answer
        return answer.json

    def delete(self):
        return self.system.request("DELETE", f"/function/{self.name}")


def clean_env(**env):
    """The environment for a part: ours without anybody's FAAS_ settings."""
    base = {key: value for key, value in os.environ.items() if not key.startswith("FAAS_")}
    base["LC_ALL"] = "C.UTF-8"
    base.update({key: str(value) for key, value in env.items() if value is not None})
    return base


class System:
    """`minifaas up` with temporary directories on a port of its own. start() returns when calls are served."""

    def __init__(self, args=(), prefix=(), home=None, bin_dir=BIN, owner=None, **env):
        self.home = Path(home or tempfile.mkdtemp(prefix="faas-", dir="/tmp"))
        self.args, self.prefix, self.bin_dir, self.process = list(args), list(prefix), Path(bin_dir), None
        self.data_dir, self.run_dir, self.log_dir = (self.home / name for name in ("data", "run", "log"))
        config = self.home / "minifaas.conf"
        self.home.mkdir(exist_ok=True)
        self.run_dir.mkdir(exist_ok=True)
        config.touch()
        if owner is not None:
            for path in (self.home, self.run_dir, config):
                os.chown(path, owner, owner)
        self.env = {
            "FAAS_LISTEN": "127.0.0.1:0", "FAAS_DATA_DIR": self.data_dir, "FAAS_RUN_DIR": self.run_dir,
            "FAAS_LOG_DIR": self.log_dir, "FAAS_CONFIG": config,
        }  # fmt: skip
        self.env.update(env)
        self.address = None
        self.token = None  # of an API key, sent with every request
        self._cache = {}

    # life

    def launch(self):
        argv = [*self.prefix, self.bin_dir / "minifaas", "up", *self.args]
        self.process = Process(argv, clean_env(**self.env), cwd=self.home)
        return self

    def start(self, timeout_s=15.0):
        self.launch()
        self.find_address(self.process, timeout_s)
        self.wait_ready(timeout_s)
        return self

    def find_address(self, process, timeout_s=15.0):
        found = process.wait_line(r"api_gateway listening on (\S+):(\d+)", timeout_s)
        self.address = (found[1], int(found[2]))

    def wait_ready(self, timeout_s=10.0):
        def ready():
            try:
                return self.request("GET", "/readyz").status == 200
            except OSError:
                return False

        wait_until(ready, timeout_s, lambda: f"ready; it said:\n{self.process.text() if self.process else ''}")

    @property
    def url(self):
        return "http://%s:%d" % self.address

    @property
    def pid(self):
        return self.process.pid

    def procs(self, *comms):
        """Living processes of this instance, by name; all without one."""
        return [p for p in descendants(self.pid) if not comms or p.comm in comms]

    def procs_given(self, comm, argument):
        """Processes of that name with that argument; one that ends just now still counts."""
        found = []
        for proc in self.procs(comm):
            try:
                given = argument.encode() in Path(f"/proc/{proc.pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                given = True
            found += [proc] * given
        return found

    def pids(self, *comms):
        return [p.pid for p in self.procs(*comms)]

    def pid_of(self, comm):
        """The part of that name; waits while it is away."""
        return wait_until(lambda: self.platform_pids().get(comm), 5, f"a process named {comm}")

    def platform_pids(self):
        """{name: pid} of the supervisor and the three parts. A child of a part has the part's name until its exec."""
        return {p.comm: p.pid for p in self.procs(*PLATFORM) if self.pid in (p.pid, p.ppid)}

    def stop(self, timeout_s=10.0):
        """SIGTERM, and then nothing may be left."""
        if not self.process:
            return
        if self.process.popen.poll() is None:
            self.process.signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            left = self.procs()
            self.process.kill_tree()
            raise AssertionError(f"still there {timeout_s} s after SIGTERM: {left}\n{self.tail()}") from None
        assert code == 0, f"ended with {code}\n{self.tail()}"
        reports = re.findall(r".*(?:Sanitizer|: runtime error:).*", self.process.text())
        assert not reports, "\n".join(reports)
        wait_until(lambda: not orphans(), 5, lambda: f"no process left: {orphans()}\n{self.tail()}")
        sockets = [path.name for path in self.run_dir.glob("*.sock")]
        assert not sockets, f"sockets left: {sockets}"
        self.process = None

    def kill_all(self):
        """SIGKILL to every process of the instance."""
        self.process.kill_tree()
        wait_until(lambda: not orphans(), 5, lambda: f"no process left: {orphans()}")
        self.process = None

    def remove(self):
        """For the end of a test: whatever happened, nothing stays."""
        if self.process and self.process.popen.poll() is None:
            self.process.kill_tree()
        shutil.rmtree(self.home, ignore_errors=True)

    def tail(self, count=60):
        return "\n".join(self.process.lines[-count:]) if self.process else ""

    # HTTP

    def request(self, method, path, body=None, headers=None, timeout_s=60):
        connection = http.client.HTTPConnection(*self.address, timeout=timeout_s)
        if isinstance(body, str):
            body = body.encode()
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **(headers or {})}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.reason, response.getheaders(), response.read())
        finally:
            connection.close()

    def raw(self, timeout_s=15.0):
        return Raw(self.address, timeout_s)

    def try_deploy(self, source, lang, name=None, method="POST", **params):
        query = {"name": name or unique_name(), "lang": lang, **params}
        return self.request(method, "/deploy?" + urllib.parse.urlencode(query), source)

    def deploy(self, source, lang, name=None, method="POST", **params):
        """source is text, bytes, or the path of an example below examples/."""
        if isinstance(source, Path):
            source = (EXAMPLES / source).read_bytes()
        answer = self.try_deploy(source, lang, name, method, **params)
        if answer.status == 501:
            import pytest

            pytest.skip(answer.json["error"])
        assert answer.status == 201, answer
        return Function(self, answer)

    def shared(self, source, lang, **params):
        """Deployed once an instance, for tests that only call it."""
        key = (str(source), lang, tuple(sorted(params.items())))
        if key not in self._cache:
            self._cache[key] = self.deploy(source, lang, **params)
        return self._cache[key]

    # metrics

    def samples(self):
        answer = self.request("GET", "/metrics")
        assert answer.status == 200, answer
        return [s for family in text_string_to_metric_families(answer.text) for s in family.samples]

    def metric(self, name, **labels):
        """The sum of the samples of that name that have those labels."""
        return sum(s.value for s in self.samples()
                   if s.name == name and all(s.labels.get(k) == v for k, v in labels.items()))  # fmt: skip

    def worker_calls(self):
        """{worker number as text: calls} of faas_worker_calls_total."""
        return {s.labels["worker"]: s.value for s in self.samples() if s.name == "faas_worker_calls_total"}

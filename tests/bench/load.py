"""Load: closed loops by wrk, open loops by our load_injector, and single requests one after the other."""

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path

# wrk's own table lacks p99.9, so its hook at the end prints what is wanted.
SCRIPT_END = """
done = function(summary, latency)
  local bad = summary.errors
  io.write(string.format('\\nfigures {"calls":%d,"seconds":%f,"p50":%f,"p99":%f,"p99.9":%f,"errors":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, bad.connect + bad.read + bad.write + bad.status + bad.timeout))
end
"""
# Many paths in turn: rendered once, so that a call costs wrk an index more.
SCRIPT_TURN = """
local requests, at = {}, 0
init = function()
  for path in io.lines("%s") do requests[#requests + 1] = wrk.format("POST", path) end
end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
"""


class Target:
    """What is called: a path (or several, in turn) of a program, with a body."""

    def __init__(self, program, path="/invoke?fn=hello", body=b"", paths=None):
        self.program, self.path, self.body, self.paths = program, path, body, paths
        self.script = None


class Load:
    """Runs the load generators. Files of theirs go to `scratch`."""

    def __init__(self, scratch, injector):
        self.scratch, self.injector, self.count = Path(scratch), injector, 0

    def _file(self, data):
        self.count += 1
        path = self.scratch / f"load-{self.count}"
        path.write_bytes(data)
        return path

    def _script(self, target):
        if not target.script:
            text = 'wrk.method = "POST"\n'
            if target.body:
                text += f'wrk.body = io.open("{self._file(target.body)}", "rb"):read("*a")\n'
            if target.paths:
                text += SCRIPT_TURN % self._file("\n".join(target.paths).encode())
            target.script = self._file((text + SCRIPT_END).encode())
        return target.script

    def closed(self, target, connections, seconds, core=None):
        """Each connection sends its next call when the last one is answered. One thread of wrk."""
        argv = ["taskset", "-c", str(core)] if core is not None else []
        argv += ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", self._script(target),
                 f"http://127.0.0.1:{target.program.port}{target.path}"]  # fmt: skip
        run = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=seconds + 60)
        found = [line[8:] for line in run.stdout.splitlines() if line.startswith("figures ")]
        if not found:
            raise RuntimeError(f"wrk failed: {run.stdout}{run.stderr}")
        figures = json.loads(found[0])
        figures["rate"] = figures["calls"] / figures["seconds"]
        return figures

    def open(self, port, function, rate, seconds, connections=64, prefix=""):
        """A call is due every 1/rate seconds, answered or not; latency counts from when it was due."""
        return self.start_open(port, function, rate, seconds, connections, prefix)()

    def start_open(self, port, function, rate, seconds, connections=64, prefix=""):
        """The same in the background; the result waits for its end and returns the figures."""
        each = max(1, round(rate * seconds / connections))
        argv = [self.injector, function, connections, each, "--rate", rate, "--timeout-ms", 10000, "--json"]
        env = {**os.environ, "FAAS_URL": f"http://127.0.0.1:{port}{prefix}"}
        process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, text=True, env=env)

        def finish():
            output = process.communicate(timeout=seconds + 60)[0]
            figures = json.loads(output)
            return {"calls": figures["requests"], "rate": figures["requests_per_second"], "errors": figures["errors"],
                    **{name: figures["latency_ms"][name] for name in ("p50", "p99", "p99.9")}}  # fmt: skip

        return finish


class Caller:
    """One connection, one call after the other; ms each took."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.call("/healthz", method="GET")  # the connection is accepted, so what follows is a call's alone

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, path, body=b"", method="POST"):
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        start = time.perf_counter()
        self.socket.sendall(head + body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(rest) < length:
            rest += self._receive()
        took_ms = (time.perf_counter() - start) * 1000
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {head[:60]!r} {rest[:300]!r}")
        return took_ms

    def _receive(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the connection was closed in the middle of an answer")
        return data


def request(port, method, path, body=None, timeout_s=60):
    """(status, body); status 0 when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()

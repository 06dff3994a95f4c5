"""Clients that are slow, many, or gone: memory stays bounded, others are served, nothing is left behind."""

import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

import faas

MIB = 1 << 20


@pytest.fixture
def hello(system):
    return system.shared(Path("c/hello.c"), "c")


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def sockets(pid):
    """Those of clients, and a few that stay."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except OSError:
            pass  # closed just now
    return count


def reset(raw):
    """Ends a connection with RST in place of FIN."""
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


class Others:
    """A client that goes on calling meanwhile, with the time that each call took."""

    def __init__(self, function, pause_s=0.02):
        self.function, self.pause_s, self.times, self.failed = function, pause_s, [], []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.wait(self.pause_s):
            start = time.monotonic()
            try:
                answer = self.function.invoke(timeout_s=10)
                if answer.status != 200:
                    self.failed.append(answer)
            except OSError as error:
                self.failed.append(error)
            self.times.append(time.monotonic() - start)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, failed, *_):
        before = len(self.times)
        if not failed:
            faas.wait_until(lambda: len(self.times) >= before + 5, 20 * faas.PATIENCE, "five more calls")
        self._stop.set()
        self._thread.join(20)

    def assert_served(self, within_s):
        assert not self.failed, self.failed[:3]
        times = sorted(self.times)
        assert times[len(times) * 9 // 10] < within_s * faas.PATIENCE, times[-5:]


@pytest.fixture
def strict(start_system):
    """An instance with little patience and little room."""
    return start_system(FAAS_WORKERS=1, FAAS_HEAD_MS=1000, FAAS_STALL_MS=1000, FAAS_IDLE_MS=3000, FAAS_CONNECTIONS=200,
                        FAAS_BUFFER_MB=64)  # fmt: skip


def quiet(system):
    """Back to one connection (that asks) and no bytes kept."""

    def look():
        return system.metric("faas_http_connections") <= 1 and system.metric("faas_http_buffered_bytes") == 0

    faas.wait_until(look, 15 * faas.PATIENCE, "connections and bytes gone")


# --- slow ------------------------------------------------------------------------------------------------------------


def trickle(raw, data, pause_s, until_s):
    """Byte by byte; the seconds until the other side answers or closes."""
    start = time.monotonic()
    raw.socket.settimeout(pause_s)
    for byte in data:
        try:
            raw.socket.sendall(bytes([byte]))
            if raw.socket.recv(1, socket.MSG_PEEK) is not None:
                return time.monotonic() - start
        except TimeoutError:
            pass
        except OSError:
            return time.monotonic() - start
        assert time.monotonic() - start < until_s, "never refused"
    raise AssertionError("took it all")


SLOW = {
    "request line": (b"", b"GET /" + b"a" * 5000),
    "headers": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * 1000),
    "one long header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"y" * 5000),
    "body": (b"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"y" * 5000),
    "chunks": (b"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 1000),
    "chunk size": (b"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 5000),
    "trailers": (b"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"T: y\r\n" * 1000),
}


@pytest.mark.parametrize("head, slowly", list(SLOW.values()), ids=list(SLOW))
def test_a_request_that_trickles_is_given_up(strict, head, slowly):
    with strict.raw() as raw:
        raw.send(head)
        took_s = trickle(raw, slowly, 0.05, 8 * faas.PATIENCE)
        assert took_s > 0.5
        raw.socket.settimeout(10)
        raw.answer().assert_error(408, "request_timeout")
    quiet(strict)


def test_a_large_body_at_a_fair_pace_is_not_given_up(strict):
    echo = strict.deploy(Path("c/echo.c"), "c")
    with strict.raw(60) as raw:
        raw.send(f"POST /fn/{echo.name} HTTP/1.1\r\nHost: x\r\nContent-Length: {2 * MIB}\r\n\r\n")
        start = time.monotonic()
        for _ in range(32):  # longer than the time-out in all, 64 KiB a tenth of a second
            raw.send(bytes(65536))
            time.sleep(0.1)
        assert time.monotonic() - start > 3
        assert raw.answer().body == bytes(2 * MIB)


def test_connection_that_says_nothing_is_closed(strict):
    with strict.raw(20) as raw:
        start = time.monotonic()
        assert raw.at_end()
        assert 2.5 < time.monotonic() - start < 6 * faas.PATIENCE


def test_reader_that_never_reads_is_given_up_and_holds_up_nobody(strict):
    echo = strict.deploy(Path("c/echo.c"), "c")
    hello = strict.deploy(Path("c/hello.c"), "c")
    size = 15 * MIB
    pid = strict.pid_of("api_gateway")
    before = rss_mib(pid)
    stuck = []
    with Others(hello) as others:
        for _ in range(10):  # 150 MiB of answers, with room for 64
            raw = strict.raw(30)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.append(raw)
            try:
                raw.send(f"POST /fn/{echo.name} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")
                raw.send(bytes(size))
            except OSError:
                pass  # refused or closed: no room
        assert rss_mib(pid) - before < 64 + 16 * 6 * faas.PATIENCE
        quiet(strict)  # they are all closed, though none of them has read or gone
    others.assert_served(1)
    for raw in stuck:
        raw.close()


def test_reader_at_a_fair_pace_gets_all(strict):
    """Slower than the time-out in all, and with pauses in what the socket says it can take."""
    echo = strict.deploy(Path("c/echo.c"), "c")
    size = 6 * MIB
    with strict.raw(60) as raw:
        raw.send(f"POST /fn/{echo.name} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")
        raw.send(bytes(size))
        start = time.monotonic()
        got = 0
        while got < size:
            part = raw.socket.recv(96 << 10)
            assert part, f"cut off after {got} bytes"
            got += len(part)
            time.sleep(0.05)
        assert time.monotonic() - start > 2


def test_reader_that_takes_a_byte_now_and_then_is_given_up(strict):
    echo = strict.deploy(Path("c/echo.c"), "c")
    size = 15 * MIB
    with strict.raw(60) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.send(f"POST /fn/{echo.name} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")
        raw.send(bytes(size))
        stop = threading.Event()

        def sip():
            while not stop.wait(0.1):
                try:
                    if not raw.socket.recv(1):
                        return
                except OSError:
                    return

        thread = threading.Thread(target=sip, daemon=True)
        thread.start()
        quiet(strict)
        stop.set()
        thread.join(5)


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", b"GET /healthz HT", b"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"])
def test_more_connections_than_there_is_room_for_keep_nobody_out(strict, first):
    hello = strict.deploy(Path("c/hello.c"), "c")
    pid = strict.pid_of("api_gateway")
    quiet(strict)
    before = sockets(pid)
    flood = []
    try:
        with Others(hello) as others:
            for _ in range(3):
                for _ in range(200):
                    raw = strict.raw()
                    flood.append(raw)
                    try:
                        raw.send(first)
                    except OSError:
                        pass  # it has had to make room already
                time.sleep(0.7)
            assert sockets(pid) <= before + 200 + 10
        others.assert_served(2.5)
    finally:
        for raw in flood:
            raw.close()
    assert strict.metric("faas_http_evicted_total") > 0
    quiet(strict)
    assert sockets(pid) <= before + 1


def test_busy_connections_are_not_closed_to_make_room(start_system):
    system = start_system(FAAS_WORKERS=1, FAAS_CONNECTIONS=20)
    slow = system.deploy("import time\ndef handler(event, context):\n    time.sleep(4)\n    return 'done'\n", "python",
                         timeout_ms=60000)  # fmt: skip
    with system.raw(60) as caller:
        caller.send(f"POST /invoke?fn={slow.name} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        flood = [system.raw() for _ in range(60)]
        assert caller.answer().output == '"done"'
        for raw in flood:
            raw.close()


def test_large_heads_are_bounded_in_memory(strict):
    pid = strict.pid_of("api_gateway")
    before = rss_mib(pid)
    flood = []
    with Others(strict.deploy(Path("c/hello.c"), "c")) as others:
        for _ in range(190):
            raw = strict.raw()
            flood.append(raw)
            try:
                raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 60000)
            except OSError:
                pass
        assert rss_mib(pid) - before < 40 * faas.PATIENCE
    others.assert_served(2.5)
    for raw in flood:
        raw.close()
    quiet(strict)


def test_announced_lengths_cost_nothing(system, hello):
    pid = system.pid_of("api_gateway")
    before = rss_mib(pid)
    flood = [system.raw() for _ in range(300)]
    for raw in flood:
        raw.send("POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\nx")
    assert hello.invoke(timeout_s=5).status == 200
    assert rss_mib(pid) - before < 60 * faas.PATIENCE
    for raw in flood:
        reset(raw)


def test_thousands_of_pipelined_requests_hold_up_nobody(system, hello):
    count = 4000
    with Others(hello) as others, system.raw(60) as raw:
        one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        sender = threading.Thread(target=raw.send, args=(one * count,), daemon=True)
        sender.start()
        for _ in range(count):
            assert raw.answer().status == 200
        sender.join(10)
        for _ in range(10):
            assert raw.request("GET", "/healthz").status == 200
            time.sleep(0.03)
    others.assert_served(1)


def test_pipeline_of_a_client_that_does_not_read_stops_by_itself(strict):
    pid = strict.pid_of("api_gateway")
    before = rss_mib(pid)
    with strict.raw(2) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one = b"GET /functions-that-are-not-there HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        try:
            for _ in range(1000):
                raw.send(one)
        except OSError:
            pass
        assert rss_mib(pid) - before < 30 * faas.PATIENCE
    quiet(strict)


# --- gone ------------------------------------------------------------------------------------------------------------


def test_reset_and_half_close_in_every_phase_leave_nothing(system, hello):
    echo = system.shared(Path("c/echo.c"), "c")
    slow = system.shared("import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return 'x' * 1000000\n", "python")
    pid = system.pid_of("api_gateway")
    hello.invoke()
    slow.invoke()
    before = sockets(pid)
    body = b"b" * 100000
    whole = b"POST /fn/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (echo.name.encode(), len(body)) + body
    call = b"POST /invoke?fn=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % slow.name.encode()
    chunked = b"POST /fn/%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab" % echo.name.encode()
    expect = (b"POST /fn/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n" % echo.name.encode())
    phases = [b"", b"PO", whole[:30], whole[:80], whole[:50000], whole[:-1], whole, call, call + call, chunked, expect, whole * 2,
              call + b"GET /hea", call + whole[:5000], b"\x00", b"GET / HTTP/1.1\r\n\r\n"]  # fmt: skip
    for sent in phases:
        for end in (reset, lambda raw: raw.close(), lambda raw: raw.socket.shutdown(socket.SHUT_WR)):
            raw = system.raw()
            raw.send(sent)
            end(raw)
            if raw.socket.fileno() >= 0:  # half closed: what was whole is answered, then it ends
                assert raw.file.read().startswith(b"HTTP/1.1 ") or not sent.strip(b"\x00")
                raw.close()
    assert hello.invoke(timeout_s=10).status == 200
    faas.wait_until(lambda: sockets(pid) <= before, 15 * faas.PATIENCE,
                    lambda: f"sockets: {before} before, {sockets(pid)} now")  # fmt: skip


def test_expectation_of_a_client_that_never_goes_on(strict):
    with strict.raw(20) as raw:
        raw.send("POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert raw.answer().status == 100
        raw.answer().assert_error(408)


@pytest.mark.parametrize("line", ["Expect: 100-continue, 100-continue", "Expect: 100", "Expect: ", "Expect: 200-ok"])
def test_other_expectations_are_refused(system, line):
    with system.raw() as raw:
        raw.send(f"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n{line}\r\n\r\nhello")
        raw.answer().assert_error(417, "expectation")
        assert raw.at_end()


def test_expectation_without_a_body_or_with_it_is_answered_once(system, hello):
    with system.raw() as raw:
        raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n")
        assert raw.answer().status == 200
        raw.send("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
        assert raw.answer().status == 405  # the body was there already
        assert raw.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PATCH", "LINK", "PROPFIND", "QUERY", "PURGE"])
def test_methods_that_no_route_has(system, method):
    with system.raw() as raw:
        raw.send(f"{method} /healthz HTTP/1.1\r\nHost: x\r\nX-Secret: abc\r\nContent-Length: 0\r\n\r\n")
        answer = raw.answer()
        assert answer.status in (400, 405, 501), answer
        assert b"abc" not in answer.body  # TRACE echoes nothing

"""Attacks that take more than one call: on other callers' payloads, on exactly one answer, between two functions. And that the
means by which the probes are judged would notice."""

import json
import socket
import subprocess
import threading

import faas
import host
import probes
import pytest
import tiers
import wasm
from host import payload_of

pytestmark = pytest.mark.xdist_group("user")


@pytest.fixture(scope="module")
def tier():
    instance = tiers.Tier("root" if tiers.reason_not_run("root") is None else "user")
    try:
        yield instance.start([])
    finally:
        instance.close()


def deploy(tier, file, **params):
    probe = next((probe for probe in probes.PROBES if probe.file == file), None) or probes.Probe(file)
    return tier.system.deploy(tiers.source_of(probe, tier.target), probe.lang, **{**probe.params, **params})


def test_a_call_that_answers_twice_has_one_answer(tier):
    """The forged frame may be the answer to its own call. What follows it is nobody's answer."""
    function = deploy(tier, "python/answer_twice", timeout_ms=3000)
    answers = [function.invoke(payload_of({}, call=number)) for number in range(6)]
    for answer in answers:
        if answer.status == 200:
            assert answer.output in ('"FIRST"', '"SECOND"')
        else:
            answer.assert_error(502, ("bad_answer", "crash"))
    tier.assert_untouched()


def test_answering_twice_with_other_calls_waiting(tier):
    """Each call names itself: none may get what was meant for another one."""
    source = tiers.source_of(probes.Probe("python/answer_twice"), tier.target)
    source = source.replace("output = b'\"FIRST\"'", "output = json.dumps(event).encode()").replace('return "SECOND"', "return event")
    assert "json.dumps(event)" in source
    function = tier.system.deploy(source, "python", timeout_ms=3000, concurrency=1)
    answers = faas.parallel(16, lambda number: (number, function.invoke(json.dumps(f"call {number}"))))
    for number, answer in answers:
        if answer.status == 200:
            assert json.loads(answer.output) == f"call {number}", answer
        else:
            answer.assert_error(502, ("bad_answer", "crash"))
    tier.assert_untouched()


def payloads_found(tier, isolation):
    function = deploy(tier, "python/steal_payload", isolation=isolation, timeout_ms=20000)
    # Its own number stands behind the words that the function looks for.
    answers = faas.parallel(8, lambda n: function.invoke(json.dumps({"number": f"{n + 1:08}", "secret": f"caller-secret-{n + 1:08}"})))
    answers += [function.invoke(json.dumps({"number": "00000099", "secret": "caller-secret-00000099"}))]
    found = []
    for answer in answers:
        value = json.loads(answer.output)
        found += value["others"]
    return found


def test_payloads_of_other_calls_are_not_there_with_isolation(tier):
    assert not payloads_found(tier, "call")
    tier.assert_untouched()


def test_payloads_of_other_calls_are_found_without_it(tier):
    """A process of several calls: what isolation=call is for."""
    assert payloads_found(tier, "process")


@pytest.mark.parametrize("file", ["python/thread_after_answer", "js/late_answer"])
def test_what_goes_on_after_an_answer_is_in_no_other(tier, file):
    function = deploy(tier, file, timeout_ms=3000)
    for number in range(8):
        assert json.loads(function.invoke(payload_of({}, call=number)).output) == f"answer-{number}"
    tier.assert_untouched()


def head_of(tier, function):
    """The bytes of an answer as they stand on the connection."""
    with tier.system.raw() as raw:
        raw.send(f"GET /fn/{function.name}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return raw.file.read()


@pytest.mark.parametrize("file", ["python/header_injection", "js/response_injection"])
def test_no_header_splits_an_answer(tier, file):
    data = head_of(tier, deploy(tier, file))
    head, _, body = data.partition(b"\r\n\r\n")
    assert data.count(b"HTTP/1.1 ") == 1 or b"HTTP/1.1 200 OK" in body
    for evil in (b"x-evil", b"Set-Cookie", b"chunked"):
        assert evil.lower() not in head.lower(), head
    lengths = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    assert len(lengths) == 1 and int(lengths[0].split(b":")[1]) == len(body), data
    tier.assert_untouched()


def test_no_status_switches_the_protocol(tier):
    function = deploy(tier, "python/status_tamper")
    data = head_of(tier, function)
    assert data.startswith(b"HTTP/1.1 502 ") and b"upgrade" not in data.lower(), data
    function.http().assert_error(502, "bad_answer")
    tier.assert_untouched()


@pytest.mark.parametrize("payload", [b"[" * 100000, b'{"a":' * 100000, b"[" * 100000 + b"]" * 100000, b"9" * 1000000, b"\xff" * 1000, b'"\\ud800"'])
def test_payloads_that_are_bombs(tier, payload):
    function = deploy(tier, "python/payload_bomb")
    answer = function.invoke(payload)
    if answer.status != 200:
        answer.assert_error(500, ("exception", "oom"))
    tier.assert_untouched()


def test_what_a_function_opens_is_not_on_the_host(tier):
    """While it listens: on TCP, by an abstract name, by a path."""
    function = deploy(tier, "python/abstract_listen", timeout_ms=5000)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function.invoke(payload_of(tier.target))))
    thread.start()
    tries = 0
    while thread.is_alive():
        for family, address in ((socket.AF_INET, ("127.0.0.1", tier.target["free"])), (socket.AF_UNIX, "\0listen-" + tier.target["abstract"]),
                                (socket.AF_UNIX, "/tmp/listen-" + tier.target["marker"])):  # fmt: skip
            with socket.socket(family) as client, pytest.raises(OSError):
                client.connect(address)
                pytest.fail(f"{address} of a function is on the host")
            tries += 1
        thread.join(0.05)
    assert tries > 9 and "ESCAPED" not in answers[0].text, answers
    tier.assert_untouched()


def test_a_debugger_is_not_on_the_host(tier):
    function = deploy(tier, "js/inspector")
    thread = threading.Thread(target=lambda: function.invoke(payload_of(tier.target)))
    thread.start()
    while thread.is_alive():
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", tier.target["free"])) != 0
        thread.join(0.05)


MEETING = r'''
import os, socket, time
def handler(event, context):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if event["role"] == "listen":
        server.bind("\0meet-" + event["name"])
        server.listen()
        server.settimeout(3)
        try:
            others = socket.socket()
            others.bind(("127.0.0.1", 4711))
            others.listen()
        except OSError:
            pass
        try:
            server.accept()
            return "met"
        except TimeoutError:
            return "alone"
    end = time.time() + 1.5
    while time.time() < end:
        for address in ("\0meet-" + event["name"], ("127.0.0.1", 4711)):
            try:
                with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
                    client.connect(address)
                    return "met"
            except OSError:
                time.sleep(0.02)
        for pid in [name for name in os.listdir("/proc") if name.isdecimal() and int(name) not in (1, os.getpid())]:
            return f"sees {open(f'/proc/{pid}/cmdline').read()}"
    return "alone"
'''  # fmt: skip


def test_two_functions_do_not_meet(tier):
    """Neither by sockets, nor in /proc, although both want to."""
    functions = [tier.system.deploy(MEETING, "python", timeout_ms=8000) for _ in range(2)]
    event = {"name": tier.host.marker}
    answers = faas.parallel(2, lambda n: functions[n].invoke(json.dumps({**event, "role": ("listen", "connect")[n]})).output)
    assert answers == ['"alone"', '"alone"']
    tier.assert_untouched()


def test_the_log_of_a_function_is_bounded(tier):
    for file in ("python/endless_log", "c/endless_log"):
        function = deploy(tier, file)
        for _ in range(2):
            assert function.invoke(payload_of(tier.target), timeout_s=60).status == 200
        size = sum(path.stat().st_size for path in (tier.system.log_dir / "functions").glob(f"{function.name}.log*"))
        assert size < 4 << 20, size


def test_a_module_that_runs_is_seen(tier):
    """What the hostile modules would print if they ran."""
    function = tier.system.deploy(wasm.module(**wasm.shout()), "wasm")
    assert function.invoke().output == wasm.SHOWN.decode()


def test_effects_are_counted(tier):
    """Each kind of effect, made by the test itself on a host of its own."""
    own = host.Host(None)
    try:
        assert not own.effects() and not own.marked()
        (own.drop / "x").touch()
        for name in ("tcp", "tcp6"):
            socket.create_connection(("127.0.0.1" if name == "tcp" else "::1", own.listeners[name].port)).close()
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", own.listeners["udp"].port))
        socket.socket(socket.AF_UNIX).connect(own.unix)
        socket.socket(socket.AF_UNIX).connect(f"\0hostile-{own.marker}")
        assert len(own.effects()) == 6, own.effects()
        left = subprocess.Popen([f"hostile-{own.marker}", "30"], executable="/bin/sleep")
        assert [proc.pid for proc in own.marked()] == [left.pid]
        left.kill()
        left.wait()
    finally:
        own.close()

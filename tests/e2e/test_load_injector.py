"""load_injector FUNCTION THREADS REQUESTS_PER_THREAD."""

import json
import re
import socket
from pathlib import Path

import pytest

import faas


def run(start_process, *args, **env):
    process = start_process([faas.BIN / "load_injector", *map(str, args)], faas.clean_env(**env))
    return process.wait(60), process.text()


def number(text, label):
    found = re.search(rf"{label}\D*?([\d.,]+)", text, re.IGNORECASE)
    assert found, (label, text)
    return float(found[1].replace(",", ""))


@pytest.fixture
def hello(system):
    return system.shared(Path("c/hello.c"), "c")


def test_a_thousand_calls_without_an_error(system, hello, start_process):
    before = system.metric("faas_calls_total", function=hello.name, status="200")
    code, text = run(start_process, hello.name, 10, 100, FAAS_URL=system.url)
    assert code == 0, text
    assert number(text, "requests") == 1000 and number(text, "errors") == 0
    for label in ("req/s", "min", "mean", "p50", "p90", "p99", "p99.9", "max"):
        assert label in text, (label, text)
    assert system.metric("faas_calls_total", function=hello.name, status="200") - before == 1000


def test_no_terminal_no_progress_bar(system, hello, start_process):
    _, text = run(start_process, hello.name, 1, 10, FAAS_URL=system.url)
    assert "\r" not in text and "\x1b" not in text


def test_address_from_faas_listen(system, hello, start_process):
    code, text = run(start_process, hello.name, 2, 5, FAAS_LISTEN="%s:%d" % system.address)
    assert code == 0 and number(text, "requests") == 10


def test_faas_url_beats_faas_listen(system, hello, start_process):
    code, text = run(start_process, hello.name, 1, 5, FAAS_URL=system.url + "/", FAAS_LISTEN="127.0.0.1:1")
    assert code == 0, text


def test_a_rate_is_kept(system, hello, start_process):
    code, text = run(start_process, hello.name, 4, 25, "--rate", 200, "--json", FAAS_URL=system.url)
    figures = json.loads(text)
    assert code == 0 and figures["requests"] == 100 and figures["errors"] == 0, figures
    assert 0.45 <= figures["seconds"] < 5, figures


def test_at_a_rate_latency_counts_from_when_a_call_was_due(system, start_process):
    """Ten calls due every 50 ms over one connection, each of which takes 100 ms: the last one waits for 450 ms first."""
    function = system.shared("#include <unistd.h>\nint main(void) { usleep(100000); }\n", "c")
    code, text = run(start_process, function.name, 1, 10, "--rate", 20, "--json", FAAS_URL=system.url)
    latency_ms = json.loads(text)["latency_ms"]
    assert code == 0 and latency_ms["min"] >= 99 and latency_ms["max"] >= 500, text


def test_unknown_function_fails(system, start_process):
    code, text = run(start_process, "nobody", 2, 5, FAAS_URL=system.url)
    assert code == 1 and number(text, "errors") == 10, text


def test_calls_that_fail_are_counted(system, start_process):
    source = "calls = 0\ndef handler(e, c):\n    global calls\n    calls += 1\n    if calls % 2: raise ValueError\n"
    function = system.deploy(source, "python", concurrency=1)
    code, text = run(start_process, function.name, 1, 20, FAAS_URL=system.url)
    assert code == 1 and number(text, "errors") == 10, text


def test_nobody_listens(start_process):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code, text = run(start_process, "hello", 1, 1, FAAS_URL="http://127.0.0.1:%d" % unused.getsockname()[1])
    assert code == 1 and "refused" in text.lower(), text


@pytest.mark.parametrize("args", [(), ("hello",), ("hello", 1), ("hello", 0, 1), ("hello", 1, 0), ("hello", "x", 1),
                                  ("hello", -1, 1), ("hello", 1, 1, 1)])  # fmt: skip
def test_wrong_arguments(start_process, args):
    code, text = run(start_process, *args, FAAS_URL="http://127.0.0.1:1")
    assert code == 2 and "load_injector" in text, text

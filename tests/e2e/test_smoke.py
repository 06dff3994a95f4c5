"""scripts/test_system.sh against a running system."""

import socket

import faas

SCRIPT = faas.ROOT / "scripts" / "test_system.sh"


def test_smoke_test_passes_and_cleans_up(system, start_process):
    before = {row["name"] for row in system.request("GET", "/functions").json["functions"]}
    process = start_process([SCRIPT], faas.clean_env(FAAS_URL=system.url))
    assert process.wait(120) == 0, process.text()
    assert "0 failed" in process.text()
    after = {row["name"] for row in system.request("GET", "/functions").json["functions"]}
    assert after == before


def test_smoke_test_runs_twice_at_the_same_time(system, start_process):
    processes = [start_process([SCRIPT], faas.clean_env(FAAS_LISTEN="%s:%d" % system.address)) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0], [process.text() for process in processes]


def test_smoke_test_fails_without_a_system(start_process):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        process = start_process([SCRIPT], faas.clean_env(FAAS_URL="http://127.0.0.1:%d" % unused.getsockname()[1]))
        assert process.wait(30) != 0
    assert "no system" in process.text()

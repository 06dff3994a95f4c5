"""The benchmark measures what it says. Its figures are not judged."""

import json
import re
import shutil
import subprocess
import sys

import pytest

import faas

BENCH = faas.ROOT / "tests" / "bench" / "bench.py"
PROGRAMS = faas.BIN.parent / "bench"

pytestmark = pytest.mark.skipif(not (shutil.which("wrk") and (PROGRAMS / "do_nothing").exists()),
                                reason="wrk is not installed, or `make benches` was not run")  # fmt: skip


def bench(tmp_path, *args):
    argv = [sys.executable, BENCH, "--build", faas.BIN.parent, "--quick", "--no-peers", "--json", tmp_path / "out.json"]
    run = subprocess.run([*map(str, argv), *args], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["failed"] == []
    return run.stdout, out


def figures_of(out):
    return {(f["case"], f["subject"], f["setting"]): f["repetitions"][0] for f in out["figures"]}


def test_hello_is_measured_against_the_do_nothing_server(tmp_path):
    text, out = bench(tmp_path, "--cases", "hello")
    measured = figures_of(out)
    for subject in ("do-nothing", "ours"):
        for setting in ("64", "8", "1", "1, one core"):
            figures = measured["hello", subject, setting]
            assert figures["calls"] > 0 and figures["errors"] == 0, (subject, setting, figures)
            assert 0 < figures["p50"] <= figures["p99"] <= figures["p99.9"], figures
    goals = {goal["measure"]: goal for goal in out["goals"]}
    assert goals["hello in C, 64 connections: calls/s ÷ do-nothing"]["verdict"] in ("short", "met", "met, aim reached")
    assert re.search(r"\| ours \| 64 \| [\d,]+ \|", text), text


def test_functions_are_made_deployed_and_counted(tmp_path):
    _, out = bench(tmp_path, "--cases", "idle,deploy,density")
    measured = figures_of(out)
    assert measured["idle", "ours", "4 workers"]["PSS MiB"] > 1
    assert measured["deploy", "hello in C", ""]["deploy to answer ms"] > measured["first", "first after deploy", ""]["p50"] > 0
    assert measured["density", "ours", "200 functions"]["first call ms"] > 0


def test_an_unknown_case_is_named(tmp_path):
    run = subprocess.run([sys.executable, BENCH, "--cases", "nosuch"], capture_output=True, text=True)
    assert run.returncode == 2 and "nosuch" in run.stderr and "strategies" in run.stderr

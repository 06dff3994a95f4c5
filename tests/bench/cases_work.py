"""Cases in which a call does something: a payload, a computation, another language, a given rate."""

import report
from cases import case, measure_in_turn
from load import Target

KIB, MIB = 1024, 1024 * 1024


@case("fib")
def fib(bench):
    """fib 25 in C, against the same C compiled with -O2 inside the do-nothing server"""
    targets = {
        "do-nothing": Target(bench.do_nothing(), "/fib", b"25"),
        "ours": Target(bench.system_with("fib"), "/invoke?fn=fib", b"25"),
    }
    measure_in_turn(bench, "fib", targets, {"64": 64, "1": 1})
    report.print_calls(bench.results, "fib", "do-nothing")


@case("echo")
def echo(bench):
    """echo, against that of the do-nothing server: /invoke wraps the output in JSON, /fn gives it as it is"""
    system = bench.system_with("echo")
    for size, label, connections in ((KIB, "64, 1 KiB", 64), (MIB, "8, 1 MiB", 8)):
        line = b"The quick brown fox jumps over the lazy dog, 0123456789 times or more.\n"
        body = (line * (size // len(line) + 1))[:size]
        targets = {
            "do-nothing": Target(bench.do_nothing(), "/echo", body),
            "ours, /invoke": Target(system, "/invoke?fn=echo", body),
            "ours, /fn": Target(system, "/fn/echo", body),
        }
        measure_in_turn(bench, "echo", targets, {label: connections})
        for subject in targets:
            for figures in bench.results.all("echo", subject, label):
                figures["MB/s"] = figures["rate"] * size / 1e6
    report.print_calls(bench.results, "echo", "do-nothing")
    report.print_figures(bench.results, "echo", {"MB/s": "MB/s each way"})


@case("script")
def script(bench):
    """hello in JavaScript against Node's own http, in Python against uvicorn with uvloop"""
    system = bench.system_with("hello-js", "hello-py")
    targets = {
        "ours, JavaScript": Target(system, "/invoke?fn=hello-js"),
        "ours, Python": Target(system, "/invoke?fn=hello-py"),
    }
    for peer, program in bench.peers("node", "uvicorn").items():
        targets[peer] = Target(program)
    measure_in_turn(bench, "script", targets, {"64": 64, "1": 1})
    report.print_calls(bench.results, "script", "ours, JavaScript")


@case("rate")
def rate(bench):
    """hello at a fixed rate over 64 connections, open loop: latency from when a call was due, so nothing is omitted"""
    programs = {"do-nothing": bench.do_nothing(), "ours": bench.system_with("hello")}
    calls_per_s = 1000 if bench.options.quick else 10000
    for _ in range(bench.options.repetitions):
        for subject, program in programs.items():
            figures = bench.open_loop(program, "hello", calls_per_s, bench.options.seconds)
            bench.results.add("rate", subject, f"{calls_per_s}/s", figures)
    report.print_calls(bench.results, "rate", "do-nothing")

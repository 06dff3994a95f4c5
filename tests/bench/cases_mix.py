"""Cases in which one kind of call meets another, on an instance as shipped."""

import threading

import report
from cases import case
from load import Target


@case("quiet")
def quiet(bench):
    """a quiet function (500 calls/s, open loop) alone, and while another floods over 64 connections"""
    system = bench.system_as_shipped("hello", "quiet", "fib")
    floods = {
        "alone": None,
        "flooded": Target(system),
        "flooded by fib 25": Target(system, "/invoke?fn=fib", b"25"),
    }
    limit = {"alone": None, "flooded": Target(bench.do_nothing())}
    for _ in range(bench.options.repetitions):
        for setting, flood in floods.items():
            bench.results.add("quiet", "ours", setting, quiet_figures(bench, system, flood))
            if setting in limit:
                figures = quiet_figures(bench, bench.do_nothing(), limit[setting])
                bench.results.add("quiet", "do-nothing", setting, figures)
    report.print_calls(bench.results, "quiet", "do-nothing")


def quiet_figures(bench, program, flood):
    seconds = bench.options.seconds
    thread = flood and threading.Thread(target=bench.load.closed, args=(flood, 64, seconds + 1))
    if thread:
        thread.start()
    try:
        return bench.open_loop(program, "quiet", 500, seconds, connections=32)
    finally:
        if thread:
            thread.join()


@case("slow")
def slow(bench):
    """hello at 2,000 calls/s (open loop), with 1 % of calls that sleep for 100 ms mixed in: the figures are hello's"""
    system = bench.system_as_shipped("hello", "sleep")
    seconds = max(2, bench.options.seconds)
    for _ in range(bench.options.repetitions):
        bench.results.add("slow", "hello", "alone", bench.open_loop(system, "hello", 2000, seconds))
        finish = bench.load.start_open(system.port, "sleep", 20, seconds, connections=10)
        bench.results.add("slow", "hello", "1 % of 100 ms", bench.open_loop(system, "hello", 2000, seconds))
        bench.results.add("slow", "the slow ones", "1 % of 100 ms", finish() | {"cpu_us": None})
    report.print_calls(bench.results, "slow", "hello")

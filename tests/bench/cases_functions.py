"""Cases about functions: their deploy, their first call, and many of them."""

import statistics
import time

import report
from cases import MEMORY, case, measure_in_turn
from load import Caller, Target
from processes import settled_memory, tree
from systems import EXAMPLES, link_functions, make_functions


def percentiles(values_ms):
    ordered = sorted(values_ms)
    return {"p50": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


def hello_source(text):
    """hello in C with other words: a function of its own, for compiler, cache and hash."""
    return (EXAMPLES / "c" / "hello.c").read_bytes().replace(b"from FAAS!", text)


@case("deploy")
def deploy(bench):
    """deploy of hello in C to its first answer, and the first calls of functions after that and after a restart"""
    count = 3 if bench.options.quick else 24
    system = bench.new_system(workers=2, workers_max=2)
    names, deploys, firsts, warms = [], [], [], []
    system.deploy("warm", "c", hello_source(b"from warm!"))
    for i in range(count):
        names.append(f"hello-{i}")
        with Caller(system.port) as caller:
            start = time.perf_counter()
            system.deploy(names[-1], "c", hello_source(b"from %d!" % i))
            firsts.append(caller.call(f"/invoke?fn={names[-1]}"))
            deploys.append((time.perf_counter() - start) * 1000)
            warms += [caller.call("/invoke?fn=warm") for _ in range(10)][2:]
    bench.results.add("deploy", "hello in C", "", {"deploy to answer ms": statistics.median(deploys), "longest ms": max(deploys)})
    bench.results.add("first", "first after deploy", "", percentiles(firsts))
    bench.results.add("first", "warm, beside deploys", "", percentiles(warms))
    for _ in range(bench.options.repetitions):
        system.stop()
        system = bench.new_system(home=system.home, workers=2, workers_max=2)
        firsts, warms = [], []
        with Caller(system.port) as caller:
            for _ in range(20):
                caller.call("/invoke?fn=warm")
            for name in names:
                firsts.append(caller.call(f"/invoke?fn={name}"))
                warms += [caller.call("/invoke?fn=warm") for _ in range(4)][1:]
        bench.results.add("first", "first after restart", "", percentiles(firsts))
        bench.results.add("first", "warm, after restart", "", percentiles(warms))
    system.stop_and_remove()
    report.print_figures(bench.results, "deploy", {"deploy to answer ms": "deploy to first answer, ms", "longest ms": "longest, ms"})
    report.print_figures(bench.results, "first", {"p50": "p50 ms", "p99": "p99 ms"})


def home_with(bench, distinct, linked=0):
    """(home of a stopped system, names of its functions)."""
    system = bench.new_system()
    function_id = system.deploy("hello", "c", hello_source(b"from FAAS!"))["id"]
    system.stop()
    names = make_functions(system.home, function_id, distinct)
    return system.home, names + link_functions(system.home, names, linked)


@case("many")
def many(bench):
    """1,000 functions called in turn, against one called as often"""
    home, names = home_with(bench, 20 if bench.options.quick else 1000)
    system = bench.new_system(home=home, workers=2, workers_max=2)
    try:
        for name in (names[0], names[-1]):
            status, answer = system.request("POST", f"/invoke?fn={name}")
            if status != 200 or name[-4:].encode() not in answer:
                raise RuntimeError(f"{name}: {status} {answer!r}")
        targets = {
            "one function": Target(system, paths=["/invoke?fn=hello"]),
            f"{len(names)} functions in turn": Target(system, paths=[f"/invoke?fn={name}" for name in names]),
        }
        measure_in_turn(bench, "many", targets, {"64": 64, "1": 1})
        bench.results.add("many-memory", f"{len(names)} functions, all called", "", settled_memory(system.pid))
    finally:
        system.stop_and_remove()
    report.print_calls(bench.results, "many", "one function")
    report.print_figures(bench.results, "many-memory", MEMORY)


@case("density")
def density(bench):
    """10,000 deployed functions (4 workers, their metadata in the page cache), while no other instance shares pages"""
    bench.stop()
    count = 200 if bench.options.quick else 10000
    home, names = home_with(bench, count // 10, count - count // 10 - 1)
    setting = f"{len(names) + 1} functions"
    try:
        for _ in range(bench.options.repetitions):
            system = bench.new_system(home=home, workers=4, workers_max=4)
            try:
                figures = settled_memory(system.pid) | {"ready ms": system.ready_s * 1000}
                with Caller(system.port) as caller:
                    took = [caller.call(f"/invoke?fn={name}") for name in names[:: len(names) // 50]]
                figures["first call ms"] = statistics.median(took)
                bench.results.add("density", "ours", setting, figures)
            finally:
                seconds = system.stop()
            figures["stop ms"] = seconds * 1000
    finally:
        system.stop_and_remove()
    life = {"ready ms": "start to ready, ms", "stop ms": "SIGTERM to all gone, ms", "first call ms": "first call, p50 ms"}
    report.print_figures(bench.results, "density", MEMORY | life)


@case("cold")
def cold(bench):
    """a call of a JavaScript or Python function that has no process yet, while a spare is there"""
    count = 3 if bench.options.quick else 15
    system = bench.new_system()
    try:
        for label, lang, source, spare in (("JavaScript", "js", "js/hello.js", "spare-node"),
                                           ("Python", "python", "python/hello.py", "spare-python")):  # fmt: skip
            took = []
            for i in range(count):
                if not system.deploy(f"cold-{lang}-{i}", lang, (EXAMPLES / source).read_bytes()):
                    break
                wait_for_spare(system, spare)
                with Caller(system.port) as caller:
                    took.append(caller.call(f"/invoke?fn=cold-{lang}-{i}"))
            if took:
                bench.results.add("cold", label, "", percentiles(took))
    finally:
        system.stop_and_remove()
    report.print_figures(bench.results, "cold", {"p50": "p50 ms", "p99": "p99 ms"})


def wait_for_spare(system, comm):
    """The same spare over a tenth of a second: it has booted. Gives up after two seconds; a call then waits instead."""
    end, since, known = time.monotonic() + 2, time.monotonic(), set()
    while time.monotonic() < end and not (known and time.monotonic() - since > 0.1):
        now = {pid for pid, (name, _) in tree(system.pid).items() if name == comm}
        if not now or now != known:
            known, since = now, time.monotonic()
        time.sleep(0.01)

"""The cases: what is called, on which subjects, and which table comes of it."""

import report
from goals import STRATEGIES
from load import Target
from processes import Disturbance, memory, pinned, settled_memory
from systems import EXAMPLES

CASES = {}


def case(name):
    """Registers a case under the name that selects it; its docstring is its heading."""

    def register(function):
        CASES[name] = function
        return function

    return register


def measure(bench, target, connections, seconds, core=None):
    """Figures of a closed loop, with the CPU time that the answering side took a call. With --retries it is measured again
    while other processes had more than a tenth of the machine, and the least disturbed time counts, whatever it showed."""
    best = None
    for _ in range(1 + bench.options.retries):
        disturbance = Disturbance(target.program.pid)
        figures = bench.load.closed(target, connections, seconds, core)
        cpu_s, others = disturbance.end()
        if best is None or others < best["others"]:
            best = figures | {"cpu_us": cpu_s * 1e6 / max(1, figures["calls"]), "others": others}
        if best["others"] <= 0.1:
            break
    return best


def measure_in_turn(bench, name, targets, settings, seconds=None):
    """targets: {subject: Target}; settings: {setting: connections}. A short run of each warms it up; the first
    repetitions of all subjects come before the second ones, so that a neighbour's noise falls on all alike."""
    seconds = seconds or bench.options.seconds
    if not bench.options.quick:
        for target in targets.values():
            bench.load.closed(target, max(settings.values()), 1)
    for _ in range(bench.options.repetitions):
        for setting, connections in settings.items():
            for subject, target in targets.items():
                bench.results.add(name, subject, setting, measure(bench, target, connections, seconds))


MEMORY = {"PSS MiB": "PSS MiB", "RSS MiB": "RSS MiB", "processes": "processes"}


@case("idle")
def idle(bench):
    """memory and life of an instance without functions (4 workers), while no other one shares its pages"""
    bench.stop()
    for _ in range(bench.options.repetitions):
        system = bench.new_system(workers=4, workers_max=4)
        figures = settled_memory(system.pid) | {"ready ms": system.ready_s * 1000}
        figures["stop ms"] = system.stop_and_remove() * 1000
        bench.results.add("idle", "ours", "4 workers", figures)
    life = {"ready ms": "start to ready, ms", "stop ms": "SIGTERM to all gone, ms"}
    report.print_figures(bench.results, "idle", MEMORY | life)


@case("hello")
def hello(bench):
    """hello without payload: ours (2 workers, a fresh instance a call) and the peers"""
    targets = {"do-nothing": Target(bench.do_nothing()), "ours": Target(bench.system_with("hello"))}
    peers = bench.peers("nginx", "wasmtime", "wasmtime, tuned", "workerd", "of-watchdog", "deno")
    targets |= {name: Target(program) for name, program in peers.items()}
    for subject, target in targets.items():
        bench.results.add("memory", subject, "before the load", settled_memory(target.program.pid))
    few = {name: target for name, target in targets.items() if name not in peers}
    measure_in_turn(bench, "hello", targets, {"64": 64, "1": 1})
    measure_in_turn(bench, "hello", few, {"8": 8})
    for _ in range(bench.options.repetitions):
        for subject in ("do-nothing", "ours"):
            target = targets[subject]
            with pinned(target.program.pid, 0):
                figures = measure(bench, target, 1, bench.options.seconds, core=0)
            bench.results.add("hello", subject, "1, one core", figures)
    report.print_calls(bench.results, "hello", "do-nothing")
    for subject, target in targets.items():
        bench.results.add("memory", subject, "after the load", memory(target.program.pid))
    report.print_figures(bench.results, "memory", MEMORY)


@case("shipped")
def shipped(bench):
    """hello on an instance as shipped (4 workers, more under load), against one with 2 workers"""
    targets = {"2 workers": Target(bench.system_with("hello")), "as shipped": Target(bench.system_as_shipped("hello"))}
    measure_in_turn(bench, "shipped", targets, {"64": 64, "8": 8, "1": 1})
    report.print_calls(bench.results, "shipped", "2 workers")


@case("settings")
def settings(bench):
    """hello with a setting that is not the default, against the same without: spinning, and no sandbox"""
    targets = {
        "2 workers": Target(bench.system_with("hello")),
        "spin_us=50": Target(bench.system_set("spinning", "hello", spin_us=50)),
        "sandbox=off": Target(bench.system_set("no sandbox", "hello", sandbox="off")),
        "do-nothing": Target(bench.do_nothing()),
    }
    measure_in_turn(bench, "settings", targets, {"64": 64, "1": 1})
    report.print_calls(bench.results, "settings", "2 workers")


@case("http")
def http_only(bench):
    """our HTTP server with nothing behind it: what a call costs beyond this is behind it"""
    targets = {"do-nothing": Target(bench.do_nothing()), "src/http": Target(bench.http_server())}
    measure_in_turn(bench, "http", targets, {"64": 64, "1": 1})
    report.print_calls(bench.results, "http", "do-nothing")


@case("strategies")
def strategies(bench):
    """hello at 64 connections: 2 and 4 workers, each strategy"""
    systems = {count: bench.system_with("hello", workers=count) for count in (2, 4)}
    for _ in range(bench.options.repetitions):
        for strategy in STRATEGIES:
            for count, system in systems.items():
                status, answer = system.request("PUT", "/strategy", strategy.encode())
                if status != 200:
                    raise RuntimeError(f"strategy {strategy}: {status} {answer!r}")
                figures = measure(bench, Target(system), 64, bench.options.seconds)
                bench.results.add("strategies", f"{strategy}, {count} workers", 64, figures)
    for system in systems.values():
        system.request("PUT", "/strategy", b"RR")
    report.print_calls(bench.results, "strategies", "RR, 2 workers")

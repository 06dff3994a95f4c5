#!/usr/bin/env python3
"""What a call costs, against the limit of this machine and against peers, all measured in one run.

Prints Markdown, and the table of what the figures must show; every figure also goes to a JSON file. Judges nothing:
the exit status is 0 unless something could not be measured at all. `--list` lists the cases.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import cases_functions
import cases_mix
import cases_work
import report
from cases import CASES
from load import Load
from peers import PEERS
from processes import Disturbance, Program
from results import Results
from systems import EXAMPLES, ROOT, System

MODULES = (cases_work, cases_functions, cases_mix)  # each puts its cases into CASES
FUNCTIONS = {
    "hello": ("c", EXAMPLES / "c/hello.c"),
    "quiet": ("c", EXAMPLES / "c/hello.c"),
    "echo": ("c", EXAMPLES / "c/echo.c"),
    "hello-js": ("js", EXAMPLES / "js/hello.js"),
    "hello-py": ("python", EXAMPLES / "python/hello.py"),
    "fib": ("c", Path(__file__).parent / "functions/fib.c"),
    "sleep": ("c", Path(__file__).parent / "functions/sleep.c"),
}


class Bench:
    """A run: its options, its results, and the programs that cases share, each started when first asked for."""

    def __init__(self, options, scratch):
        self.options, self.scratch, self.results = options, scratch, Results()
        self.binaries = options.build / "bin"
        self.load = Load(scratch, self.binaries / "load_injector")
        self.programs = {}
        self.deployed = set()

    def do_nothing(self):
        return self._baseline("do_nothing")

    def http_server(self):
        return self._baseline("http_server")

    def _baseline(self, name):
        argv = [self.options.build / "bench" / name, "0"]
        return self._shared(name, lambda: Program(argv, rf"{name} listening on \S+:(\d+)"))

    def new_system(self, **settings):
        return System(self.binaries, self.scratch, **settings)

    def system_with(self, *functions, workers=2):
        """Ours with that many workers, never more or fewer, and with these functions deployed."""
        return self._system(f"ours, {workers} workers", functions, workers=workers, workers_max=workers)

    def system_set(self, name, *functions, **settings):
        """The same with further settings, by their variables' names in lower case without FAAS_. It gets what the one
        without them has built: with some settings nothing is compiled."""
        name, base = f"ours, {name}", self.system_with(*functions)
        system = self._shared(name, lambda: self.new_system(workers=2, workers_max=2, **settings))
        for function in functions:
            if (name, function) not in self.deployed:
                (wasm,) = (base.home / "DATA").glob(f"{function}_*/code.wasm")
                if not system.deploy(function, "wasm", wasm.read_bytes()):
                    raise RuntimeError("this machine cannot compile WASM")
                self.deployed.add((name, function))
        return system

    def system_as_shipped(self, *functions):
        return self._system("ours, as shipped", functions)

    def _system(self, name, functions, **settings):
        system = self._shared(name, lambda: self.new_system(**settings))
        for function in functions:
            if (name, function) not in self.deployed:
                lang, source = FUNCTIONS[function]
                if not system.deploy(function, lang, source.read_bytes()):
                    raise RuntimeError(f"this machine cannot build {lang}")
                self.deployed.add((name, function))
        return system

    def open_loop(self, program, function, rate, seconds, connections=64):
        disturbance = Disturbance(program.pid)
        figures = self.load.open(program.port, function, rate, seconds, connections)
        cpu_s, others = disturbance.end()
        return figures | {"cpu_us": cpu_s * 1e6 / max(1, figures["calls"]), "others": others}

    def peers(self, *names):
        """{name: program} of those that this machine has; of the others it says how to get them."""
        found = {}
        for name in names if self.options.peers else ():
            peer = PEERS[name]
            if not peer.find():
                print(f"{name} is left out: it is not there; {peer.how}\n")
                continue
            try:
                found[name] = self._shared(name, lambda peer=peer: peer.start(self))
            except (RuntimeError, OSError) as error:
                print(f"{name} is left out: {error}\n")
        return found

    def _shared(self, name, start):
        if name not in self.programs:
            self.programs[name] = start()
        return self.programs[name]

    def stop_peers(self):
        """Those of the case that ended: what stays shared is ours and the baselines."""
        for name in self.programs.keys() & PEERS.keys():
            self.programs.pop(name).stop()

    def stop(self):
        """All of them; those that are asked for again start again."""
        for program in reversed(self.programs.values()):
            program.stop()
        self.programs, self.deployed = {}, set()


def run(options, scratch):
    facts, started = report.machine(), time.monotonic()
    report.print_machine(facts, options)
    bench, failed = Bench(options, scratch), []
    try:
        for name in options.cases:
            print(f"## {name}: {CASES[name].__doc__}\n", flush=True)
            try:
                CASES[name](bench)
            except (RuntimeError, OSError) as error:
                failed.append(name)
                print(f"{name} could not be measured: {error}\n", flush=True)
            bench.stop_peers()
    finally:
        bench.stop()
    report.print_goals(bench.results)
    report.print_disturbance(bench.results)
    seconds = time.monotonic() - started
    print(f"{seconds:.0f} s; every figure is in {options.json}")
    goals = [dict(zip(("measure", "must", "aim", "measured", "verdict"), row)) for row in report.goal_rows(bench.results)]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(
        {"machine": facts, "seconds": seconds, "quick": options.quick, "failed": failed, "goals": goals,
         "figures": bench.results.as_json()}, indent=1) + "\n")  # fmt: skip
    return 1 if failed else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="directory of bin/ and bench/")
    parser.add_argument("--cases", help="names with commas between them (all)")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement (1)")
    parser.add_argument("--repetitions", type=int, default=5, help="of all of them, in turn (5)")
    parser.add_argument("--retries", type=int, default=0, help="of a closed loop that other processes disturbed (0)")
    parser.add_argument("--quick", action="store_true", help="one second, once, smaller numbers: to see that it works")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="without other people's servers")
    parser.add_argument("--goals", type=Path, nargs="+", metavar="JSON",
                        help="measure nothing; print what the figures of earlier runs show")  # fmt: skip
    parser.add_argument("--json", type=Path, help="where every figure goes (BUILD/bench.json)")
    options = parser.parse_args()
    if options.list:
        for name, function in CASES.items():
            print(f"{name:12} {function.__doc__}")
        sys.exit(0)
    if options.goals:
        report.print_goals(Results.load(options.goals))
        sys.exit(0)
    options.cases = options.cases.split(",") if options.cases else list(CASES)
    if unknown := [name for name in options.cases if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}; there are: {', '.join(CASES)}")
    if options.quick:
        options.seconds = options.repetitions = 1
    if not shutil.which("wrk"):
        parser.error("wrk is missing (on Debian: apt-get install wrk)")
    options.build = options.build.resolve()
    options.json = options.json or options.build / "bench.json"
    return options


if __name__ == "__main__":
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="minifaas-bench-") as directory:
        sys.exit(run(arguments, Path(directory)))

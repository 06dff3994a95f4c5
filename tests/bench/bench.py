#!/usr/bin/env python3
"""What a call costs, against the limit of this machine measured in the same run.

In turn, several times over, so that a neighbour's noise falls on all alike: a do-nothing HTTP server, src/http with a
handler that does nothing, and hello in C, JavaScript and Python on a real system, each over 1 and 64 connections by
the same load generator (wrk where there is one, else our own load_injector). Prints Markdown; figures are medians.
CPU is that of all processes of the side that answers, without the load generator. Judges nothing: exit status 0
unless something could not be measured at all.
"""

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
HELLO = {"C": ("c", "c/hello.c"), "JavaScript": ("js", "js/hello.js"), "Python": ("python", "python/hello.py")}
START_LIMIT_S = 30


# --- processes -------------------------------------------------------------------------------------------------------


def read_stat(pid):
    """(comm, ppid, CPU ticks with those of the children that it has reaped), or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except OSError:
        return None
    comm, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else (comm, int(fields[1]), sum(map(int, fields[11:15])))


def tree(root):
    """{pid: (comm, ticks)} of root and all below it."""
    stats = {int(pid): stat for pid in os.listdir("/proc") if pid.isdigit() and (stat := read_stat(pid))}
    found, grown = {root} & stats.keys(), True
    while grown:
        below = {pid for pid, stat in stats.items() if stat[1] in found} - found
        grown = bool(below)
        found |= below
    return {pid: (stats[pid][0], stats[pid][2]) for pid in found}


def cpu_seconds(root):
    return sum(ticks for _, ticks in tree(root).values()) / TICKS_PER_S


def memory_kib(pid):
    """(RSS, PSS); PSS None where it may not be read."""
    rss = pss = None
    try:
        rss = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
        pss = int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
    except (OSError, TypeError):
        pass
    return rss, pss


class Program:
    """A program with a line that says where it listens."""

    def __init__(self, argv, pattern, env=None, cwd=None):
        self.started = time.monotonic()
        self.lines, self.found, self.port = [], threading.Event(), None
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            errors="replace", env=env, cwd=cwd)  # fmt: skip
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, args=(re.compile(pattern),), daemon=True)
        self.reader.start()
        if not self.found.wait(START_LIMIT_S) or self.port is None:
            self.stop()
            raise RuntimeError(f"{argv[0]} did not start:\n" + "".join(self.lines[-20:]))

    def _read(self, pattern):
        for line in self.process.stdout:
            self.lines = self.lines[-200:] + [line]
            if match := pattern.search(line):
                self.port = int(match[1])
                self.found.set()
        self.found.set()  # the end of the output ends the waiting, too

    def stop(self):
        """SIGTERM; seconds until it and all its descendants are gone."""
        pids, start = set(tree(self.pid)), time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        while any(read_stat(pid) for pid in pids) and time.monotonic() - start < 20:
            time.sleep(0.001)
        seconds = time.monotonic() - start
        for pid in pids:
            if read_stat(pid):
                print(f"process {pid} outlived its system; killed", file=sys.stderr)
                os.kill(pid, signal.SIGKILL)
        return seconds


class System(Program):
    def __init__(self, binaries, scratch):
        self.home = Path(tempfile.mkdtemp(dir=scratch))
        env = {name: value for name, value in os.environ.items() if not name.startswith("FAAS_")}
        env["FAAS_LISTEN"] = "127.0.0.1:0"
        for name in ("DATA", "RUN", "LOG"):
            (self.home / name).mkdir()
            env[f"FAAS_{name}_DIR"] = str(self.home / name)
        super().__init__([str(binaries / "minifaas"), "up"], r"api_gateway listening on \S+:(\d+)", env, self.home)
        while self.request("GET", "/readyz")[0] != 200:
            if time.monotonic() - self.started > START_LIMIT_S:
                self.stop()
                raise RuntimeError("the system is not ready:\n" + "".join(self.lines[-20:]))
            time.sleep(0.001)
        self.ready_s = time.monotonic() - self.started

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, str(error).encode()
        finally:
            connection.close()


# --- load ------------------------------------------------------------------------------------------------------------


class Wrk:
    """One thread of wrk."""

    def __init__(self, scratch):
        self.script = Path(scratch) / "post.lua"
        self.script.write_text('wrk.method = "POST"\n')
        version = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split("\n")[0]
        self.name = re.sub(r" Copyright.*", "", version) + ", 1 thread"

    def run(self, port, function, connections, seconds):
        output = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s", "-s", self.script,
             f"http://127.0.0.1:{port}/invoke?fn={function}"],
            capture_output=True, text=True, timeout=seconds + 60).stdout  # fmt: skip
        requests, elapsed = re.search(r"(\d+) requests in ([\d.]+\w+),", output).groups()
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
        errors = int(bad[1]) if bad else 0
        errors += sum(map(int, socket_errors.groups())) if socket_errors else 0
        return {
            "calls": int(requests),
            "rate": int(requests) / (self._ms(elapsed) / 1000),
            "p50": self._ms(re.search(r"50%\s+([\d.]+\w+)", output)[1]),
            "p99": self._ms(re.search(r"99%\s+([\d.]+\w+)", output)[1]),
            "errors": errors,
        }

    @staticmethod
    def _ms(text):
        number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
        return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


class Injector:
    """Our own load_injector, as many requests as a short trial says will last that long."""

    name = "load_injector"

    def __init__(self, binaries):
        self.program = binaries / "load_injector"

    def _run(self, port, function, connections, requests):
        env = {**os.environ, "FAAS_URL": f"http://127.0.0.1:{port}"}
        argv = [self.program, function, str(connections), str(requests), "--json"]
        return json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env).stdout)

    def run(self, port, function, connections, seconds):
        trial = self._run(port, function, connections, max(1, 500 // connections))
        requests = max(1, min(10**7, int(trial["requests"] / trial["seconds"] * seconds / connections)))
        figures = self._run(port, function, connections, requests)
        return {
            "calls": figures["requests"],
            "rate": figures["requests_per_second"],
            "p50": figures["latency_ms"]["p50"],
            "p99": figures["latency_ms"]["p99"],
            "errors": figures["errors"],
        }


def measure(load, program, function, connections, seconds):
    before = cpu_seconds(program.pid)
    figures = load.run(program.port, function, connections, seconds)
    figures["cpu_us"] = (cpu_seconds(program.pid) - before) * 1e6 / max(1, figures["calls"])
    return figures


# --- report ----------------------------------------------------------------------------------------------------------


def number(value, digits=2):
    return "–" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.{digits}f}"


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def print_calls(runs):
    """runs: {(what, connections): [figures of each repetition]}"""
    middle = {
        key: {name: statistics.median(run[name] for run in results) for name in results[0]}
        for key, results in runs.items()
    }
    rows = []
    for (what, connections), figures in middle.items():
        base = middle["do nothing", connections]
        spread = [run["rate"] for run in runs[what, connections]]
        rows.append([
            what, connections, number(figures["rate"], 0), f"{number(min(spread), 0)}–{number(max(spread), 0)}",
            number(figures["rate"] / base["rate"]), number(figures["p50"], 3), number(figures["p99"], 3),
            number(figures["cpu_us"], 1), number(figures["cpu_us"] / base["cpu_us"] if base["cpu_us"] else None),
            sum(run["errors"] for run in runs[what, connections]),
        ])  # fmt: skip
    table(["what", "connections", "calls/s", "least–most", "÷ do nothing", "p50 ms", "p99 ms", "CPU µs a call",
           "÷ do nothing", "errors"], rows)  # fmt: skip


def print_memory(title, processes):
    """processes: {pid: (comm, (rss, pss))}"""
    print(f"Resident memory, {title}:\n")
    rows = [[comm, pid, number(rss and rss / 1024, 1), number(pss and pss / 1024, 1)]
            for pid, (comm, (rss, pss)) in sorted(processes.items())]  # fmt: skip
    totals = [sum(memory[i] or 0 for _, memory in processes.values()) / 1024 for i in (0, 1)]
    rows.append(["**all**", len(processes), number(totals[0], 1), number(totals[1], 1)])
    table(["process", "pid", "RSS MiB", "PSS MiB"], rows)


def memory_of(program):
    return {pid: (comm, memory_kib(pid)) for pid, (comm, _) in tree(program.pid).items()}


def print_machine(load, options):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"{os.cpu_count()} × {model[1] if model else platform.machine()}, Linux {platform.release()}, "
          f"load average before: {os.getloadavg()[0]:.1f}. Load by {load.name}, on the same cores. "
          f"Medians of {options.repetitions} runs of {options.seconds} s.\n")  # fmt: skip


# --- the run ---------------------------------------------------------------------------------------------------------


def deploy_hellos(system):
    """{what: function}; a language that this machine lacks is left out and named."""
    functions = {}
    for what, (lang, source) in HELLO.items():
        name = f"hello-{lang}"
        status, answer = system.request("POST", f"/deploy?name={name}&lang={lang}", (EXAMPLES / source).read_bytes())
        if status == 201:
            status, answer = system.request("POST", f"/invoke?fn={name}", b"")
        if status == 200:
            functions[f"hello in {what}"] = name
        else:
            print(f"hello in {what} is left out: {status} {answer.decode(errors='replace').strip()}\n")
    return functions


def measure_calls(load, targets, options):
    runs = {}
    for _ in range(options.repetitions):
        for what, (program, function) in targets.items():
            for connections in options.connections:
                figures = measure(load, program, function, connections, options.seconds)
                runs.setdefault((what, connections), []).append(figures)
    return dict(sorted(runs.items(), key=lambda item: options.connections.index(item[0][1])))


def measure_life(binaries, scratch, options):
    starts, stops = [], []
    for _ in range(options.repetitions):
        system = System(binaries, scratch)
        starts.append(system.ready_s * 1000)
        stops.append(system.stop() * 1000)
    print(f"From start to ready {statistics.median(starts):.0f} ms ({min(starts):.0f}–{max(starts):.0f}), "
          f"from SIGTERM to all gone {statistics.median(stops):.0f} ms ({min(stops):.0f}–{max(stops):.0f}).\n")  # fmt: skip


def run(options, scratch):
    binaries, benches = options.build / "bin", options.build / "bench"
    load = Wrk(scratch) if shutil.which("wrk") and not options.injector else Injector(binaries)
    programs = []
    try:
        print_machine(load, options)
        targets = {}
        for name, what in (("do_nothing", "do nothing"), ("http_server", "src/http, nothing behind it")):
            programs.append(Program([str(benches / name), "0"], rf"{name} listening on \S+:(\d+)"))
            targets[what] = (programs[-1], "hello")
        if (binaries / "minifaas").exists():
            system = System(binaries, scratch)
            programs.append(system)
            idle = memory_of(system)
            targets |= {what: (system, name) for what, name in deploy_hellos(system).items()}
        else:
            print("No minifaas in", binaries, "– the system is left out.\n")
        print_calls(measure_calls(load, targets, options))
        if len(programs) > 2:
            print_memory("ready, before the first deploy", idle)
            print_memory("after the load", memory_of(system))
            programs.pop().stop()
            measure_life(binaries, scratch, options)
    finally:
        for program in programs:
            program.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="directory of bin/ and bench/")
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--injector", action="store_true", help="load_injector although wrk is there")
    options = parser.parse_args()
    options.build = options.build.resolve()
    with tempfile.TemporaryDirectory(prefix="minifaas-bench-") as scratch:
        run(options, scratch)


if __name__ == "__main__":
    main()

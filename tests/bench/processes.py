"""Programs that are measured: their start and end, and the CPU time and memory of all their processes."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_LIMIT_S = 60


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


class Disturbance:
    """Share of the machine that went to processes that are neither `root` nor below it, nor our ended children."""

    def __init__(self, root):
        self.root, self.start = root, time.monotonic()
        self.known = self._seconds()

    def _seconds(self):
        busy = Path("/proc/stat").read_text().split("\n")[0].split()
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (sum(map(int, busy[1:4] + busy[6:9])) / TICKS_PER_S, cpu_seconds(self.root), own.ru_utime + own.ru_stime)

    def end(self):
        """(CPU seconds of root and below, share of the machine from 0 to 1 that others had)."""
        machine, program, load = (now - then for now, then in zip(self._seconds(), self.known))
        others = (machine - program - load) / (time.monotonic() - self.start) / os.cpu_count()
        return program, max(0.0, others)


def memory(root):
    """{"PSS MiB", "RSS MiB", "processes"} of root and all below it. A process whose PSS may not be read counts with its
    RSS, which is more."""
    rss = pss = count = 0
    for pid in tree(root):
        with contextlib.suppress(OSError, TypeError):
            own = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
            rss, pss, count = rss + own, pss + own, count + 1
            pss += int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) - own
    return {"PSS MiB": pss / 1024, "RSS MiB": rss / 1024, "processes": count}


def settled_memory(root):
    """The same once for half a second no process came or went and the PSS stayed as it was (10 s at most)."""
    end, since, pids, now = time.monotonic() + 10, time.monotonic(), None, memory(root)
    while time.monotonic() < end and time.monotonic() - since < 0.5:
        time.sleep(0.05)
        before, pids_before, pids, now = now, pids, set(tree(root)), memory(root)
        if pids != pids_before or abs(now["PSS MiB"] - before["PSS MiB"]) > 0.005 * before["PSS MiB"]:
            since = time.monotonic()
    return now


@contextlib.contextmanager
def pinned(root, core):
    """All threads of root and of what is below it run on one core for the time being."""
    before = {}
    for pid in tree(root):
        with contextlib.suppress(OSError):
            for thread in map(int, os.listdir(f"/proc/{pid}/task")):
                before[thread] = os.sched_getaffinity(thread)
                os.sched_setaffinity(thread, {core})
    try:
        yield
    finally:
        for thread, cores in before.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, cores)


class Program:
    """A program that serves HTTP on 127.0.0.1. It is there when a line of its output matches `pattern`, whose group 1
    is the port, or, without a pattern, when `port` takes connections and answers."""

    def __init__(self, argv, pattern=None, port=None, env=None, cwd=None):
        self.started = time.monotonic()
        self.lines, self.found, self.port = [], threading.Event(), port
        self.process = subprocess.Popen(
            list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, errors="replace", env=env, cwd=cwd)  # fmt: skip
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, args=(pattern and re.compile(pattern),), daemon=True)
        self.reader.start()
        there = self.found.wait(START_LIMIT_S) and self.port if pattern else self._wait_for_answer()
        if not there:
            self.stop()
            raise RuntimeError(f"{argv[0]} did not start:\n" + "".join(self.lines[-20:]))
        self.ready_s = time.monotonic() - self.started

    def _read(self, pattern):
        for line in self.process.stdout:
            self.lines = self.lines[-200:] + [line]
            if pattern and (match := pattern.search(line)):
                self.port = int(match[1])
                self.found.set()
        self.found.set()  # the end of the output ends the waiting, too

    def _wait_for_answer(self):
        from load import request

        while time.monotonic() - self.started < START_LIMIT_S and self.process.poll() is None:
            if request(self.port, "POST", "/", b"")[0] == 200:
                return True
            time.sleep(0.002)
        return False

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

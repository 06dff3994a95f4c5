"""The figures as Markdown."""

import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

from goals import GOALS


def number(value, digits=2):
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()  # fmt: skip
    return {
        "cores": os.cpu_count(),
        "processor": model[1] if model else platform.machine(),
        "kernel": platform.release(),
        "load average before": [round(value, 2) for value in os.getloadavg()],
        "commit": commit or None,
    }


def print_machine(facts, options):
    print(f"{facts['cores']} × {facts['processor']}, Linux {facts['kernel']}, commit {facts['commit'] or 'unknown'}, load "
          f"average before: {facts['load average before'][0]}. Load generators on the same cores. Medians of "
          f"{options.repetitions} repetitions of {options.seconds} s, all subjects in turn; a ratio is the median of the "
          "repetitions' ratios.\n", flush=True)  # fmt: skip


def print_calls(results, case, base):
    """Calls of all subjects of a case, by setting, each set against `base` in the same setting."""
    rows = []
    measured = results.of_case(case)
    for wanted in dict.fromkeys(setting for _, setting, _ in measured):
        for subject, setting, rounds in measured:
            if setting != wanted:
                continue
            rate = [figures["rate"] for figures in rounds]
            rows.append([
                subject, setting, number(statistics.median(rate), 0), f"{number(min(rate), 0)}–{number(max(rate), 0)}",
                number(results.ratio(case, subject, base, setting, "rate")),
                *(number(results.median(case, subject, setting, name), 3) for name in ("p50", "p99", "p99.9")),
                number(results.median(case, subject, setting, "cpu_us"), 1),
                number(results.ratio(case, subject, base, setting, "cpu_us")),
                sum(figures["errors"] for figures in rounds),
            ])  # fmt: skip
    table(["what", "connections", "calls/s", "least–most", f"÷ {base}", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs a call",
           f"÷ {base}", "errors"], rows)  # fmt: skip


def print_figures(results, case, names):
    """Medians of other figures than calls; names: {figure: unit-bearing header}."""
    rows = []
    for subject, setting, rounds in results.of_case(case):
        cells = []
        for name in names:
            values = [figures[name] for figures in rounds if figures.get(name) is not None]
            spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
            cells.append(number(statistics.median(values)) + spread if values else "–")
        rows.append([subject, setting, *cells])
    table(["what", "setting", *names.values()], rows)


def goal_rows(results):
    """[[measure, must, aim, measured, verdict]] of what was measured."""
    rows = []
    for goal in GOALS:
        value = goal.value(results)
        if value is None:
            continue
        digits = 0 if goal.unit in ("MiB", "ms") and value >= 10 else 2
        rows.append([goal.text, goal.bound(goal.must), goal.bound(goal.aim), f"{value:,.{digits}f} {goal.unit}",
                     goal.verdict(value)])  # fmt: skip
    return rows


def print_goals(results):
    rows = goal_rows(results)
    if rows:
        print("## Against what it must show\n")
        table(["measure", "must", "aim", "measured", "verdict"], rows)


def print_disturbance(results):
    """How far the machine was ours alone."""
    shares = [figures["others"] for rounds in results.figures.values() for figures in rounds if "others" in figures]
    if shares:
        print(f"Other processes had {statistics.median(shares):.0%} of the machine while it was measured (median; at worst "
              f"{max(shares):.0%}). " + ("Figures from a busy machine: repeat them on a quiet one.\n"
                                         if statistics.median(shares) > 0.05 else "\n"))  # fmt: skip

"""What the figures must show and what they aim at, in the order in which they are printed."""

import statistics

STRATEGIES = ("RR", "FIFO", "WEIGHTED")


class Goal:
    """value(results) is None when it was not measured. at_least: greater is better. must may be None."""

    def __init__(self, text, unit, at_least, must, aim, value):
        self.text, self.unit, self.at_least, self.must, self.aim, self.value = text, unit, at_least, must, aim, value

    def bound(self, limit):
        return "–" if limit is None else f"{'≥' if self.at_least else '≤'} {limit:g} {self.unit}"

    def holds(self, value, limit):
        return limit is None or (value >= limit if self.at_least else value <= limit)

    def verdict(self, value):
        if not self.holds(value, self.must):
            return "short"
        return "met, aim reached" if self.holds(value, self.aim) else "met"


def at_least(text, must, aim, value):
    return Goal(text, "×", True, must, aim, value)


def at_most(text, must, aim, value, unit="×"):
    return Goal(text, unit, False, must, aim, value)


def ratio(case, subject, base, setting, name, **more):
    return lambda results: results.ratio(case, subject, base, setting, name, **more)


def median(case, subject, setting, name):
    return lambda results: results.median(case, subject, setting, name)


def slowest_strategy(workers):
    """The slowest of the three with that many workers, against the best of all six. Each rate is set against those of its
    repetition first, since the least and the greatest of six are what noise makes of them."""

    def value(results):
        rounds = {(strategy, count): [figures["rate"] for figures in results.all("strategies", f"{strategy}, {count} workers", 64)]
                  for strategy in STRATEGIES for count in (2, 4)}  # fmt: skip
        if not all(rounds.values()):
            return None
        means = [statistics.mean(rates) for rates in zip(*rounds.values())]
        typical = {key: statistics.median(rate / mean for rate, mean in zip(rates, means)) for key, rates in rounds.items()}
        return min(typical[strategy, workers] for strategy in STRATEGIES) / max(typical.values())

    return value


def added_ms(case, subject, base, name):
    def value(results):
        cold, warm = results.median(case, subject, "", name), results.median(case, base, "", name)
        return None if cold is None or warm is None else cold - warm

    return value


GOALS = [
    at_least("hello in C, 64 connections: calls/s ÷ do-nothing", 0.60, 0.75, ratio("hello", "ours", "do-nothing", 64, "rate")),
    at_most("… CPU a call, all processes ÷ do-nothing", 2.0, 1.6, ratio("hello", "ours", "do-nothing", 64, "cpu_us")),
    at_least("… 8 connections: calls/s ÷ do-nothing", 0.50, 0.65, ratio("hello", "ours", "do-nothing", 8, "rate")),
    at_least("… 2 workers, the slowest strategy ÷ the best of all", 0.85, 0.95, slowest_strategy(2)),
    at_least("… 4 workers, the slowest strategy ÷ the best of all", 0.85, 0.95, slowest_strategy(4)),
    at_least("… ÷ wasmtime serve, fresh instance, as shipped", 7, 9, ratio("hello", "ours", "wasmtime", 64, "rate")),
    at_least("… ÷ wasmtime serve, fresh instance, tuned", 4, 5.5, ratio("hello", "ours", "wasmtime, tuned", 64, "rate")),
    at_least("… ÷ workerd (reused isolate)", 4, 5, ratio("hello", "ours", "workerd", 64, "rate")),
    at_least("… ÷ Deno's handler in the server process", None, 0.9, ratio("hello", "ours", "deno", 64, "rate")),
    at_most("one connection, both sides on one core: p50 ÷ do-nothing", 2.2, 1.8, ratio("hello", "ours", "do-nothing", "1, one core", "p50")),
    at_most("one connection, unpinned: p50 ÷ do-nothing", 1.6, 1.2, ratio("hello", "ours", "do-nothing", 1, "p50")),
    at_most("… with FAAS_SPIN_US=50", None, 1.2, ratio("settings", "spin_us=50", "do-nothing", 1, "p50")),
    at_least("hello in C, 64 connections: calls/s ÷ the same without a sandbox", 0.97, None, ratio("settings", "2 workers", "sandbox=off", 64, "rate")),
    at_least("fib 25 in C, 64 connections ÷ gcc -O2 in the do-nothing server", 0.70, 0.9, ratio("fib", "ours", "do-nothing", 64, "rate")),
    at_least("hello in JavaScript ÷ Node's http", 0.8, 1.2, ratio("script", "ours, JavaScript", "node", 64, "rate")),
    at_least("hello in Python ÷ uvicorn with uvloop", 1.5, 2.5, ratio("script", "ours, Python", "uvicorn", 64, "rate")),
    at_least("echo of 1 KiB ÷ do-nothing, by /invoke (JSON around it)", 0.6, 0.85, ratio("echo", "ours, /invoke", "do-nothing", "64, 1 KiB", "rate")),
    at_least("echo of 1 KiB ÷ do-nothing, by /fn", 0.6, 0.85, ratio("echo", "ours, /fn", "do-nothing", "64, 1 KiB", "rate")),
    at_least("echo of 1 MiB, MB/s ÷ do-nothing, by /invoke (JSON around it)", 0.4, 0.6, ratio("echo", "ours, /invoke", "do-nothing", "8, 1 MiB", "rate")),
    at_least("echo of 1 MiB, MB/s ÷ do-nothing, by /fn", 0.4, 0.6, ratio("echo", "ours, /fn", "do-nothing", "8, 1 MiB", "rate")),
    at_most("first call of a C function after its deploy: p50 over warm", 0.3, 0.1, added_ms("first", "first after deploy", "warm, beside deploys", "p50"), "ms"),
    at_most("first call of a C function after a restart: p50 over warm", 0.3, 0.1, added_ms("first", "first after restart", "warm, after restart", "p50"), "ms"),
    at_most("deploy of hello in C to the first answer", 400, 250, median("deploy", "hello in C", "", "deploy to answer ms"), "ms"),
    at_most("cold call that finds a spare, Python: p50", 15, 15, median("cold", "Python", "", "p50"), "ms"),
    at_most("cold call that finds a spare, JavaScript: p50", 40, 40, median("cold", "JavaScript", "", "p50"), "ms"),
    at_most("10,000 functions: PSS of all processes", 120, 60, median("density", "ours", "10000 functions", "PSS MiB"), "MiB"),
    at_most("10,000 functions: start to ready", 1000, 300, median("density", "ours", "10000 functions", "ready ms"), "ms"),
    at_most("idle, 4 workers, no JavaScript or Python yet: PSS of all processes", 30, 15, median("idle", "ours", "4 workers", "PSS MiB"), "MiB"),
    at_most("p99 of a quiet function while another floods ÷ alone", 3, 1.5, ratio("quiet", "ours", "ours", "flooded", "p99", base_setting="alone")),
]  # fmt: skip

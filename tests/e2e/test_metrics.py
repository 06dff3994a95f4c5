"""/metrics is Prometheus text, has the contract's series, and counts what happened."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import faas


def test_text_is_valid(system):
    system.shared(Path("c/hello.c"), "c").invoke()
    answer = system.request("GET", "/metrics")
    assert answer.header("Content-Type").startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    kinds = {"faas_calls": "counter", "faas_worker_calls": "counter", "faas_workers": "gauge",
             "faas_worker_restarts": "counter", "faas_queue_depth": "gauge", "faas_queue_seconds": "histogram",
             "faas_start_seconds": "histogram", "faas_run_seconds": "histogram"}  # fmt: skip
    for name, kind in kinds.items():
        assert name in families, (name, sorted(families))
        assert families[name].type == kind and families[name].documentation, name
    seen = [(s.name, tuple(sorted(s.labels.items()))) for f in families.values() for s in f.samples]
    assert len(seen) == len(set(seen)), "a series is there twice"
    assert answer.text.endswith("\n")


def test_calls_are_counted_by_status_and_cause(system):
    good = system.deploy(Path("c/hello.c"), "c")
    bad = system.deploy("def handler(e, c):\n    raise ValueError\n", "python")
    for _ in range(5):
        good.invoke()
    for _ in range(3):
        bad.invoke()
    assert system.metric("faas_calls_total", function=good.name, status="200", version="1") == 5
    assert system.metric("faas_calls_total", function=bad.name, status="500", cause="exception", version="1") == 3
    assert system.metric("faas_calls_total", function=bad.name) == 3


def test_versions_are_counted_apart(system):
    function = system.deploy("print(1)\n", "python")
    function.invoke()
    system.try_deploy("print(2)\n", "python", function.name, "PUT")
    function.invoke()
    function.invoke()
    assert system.metric("faas_calls_total", function=function.name, version="1") == 1
    assert system.metric("faas_calls_total", function=function.name, version="2") == 2


def test_histograms_grow_and_are_cumulative(system):
    function = system.deploy("import time\ndef handler(e, c):\n    time.sleep(0.15)\n", "python")
    function.invoke()
    samples = [s for s in system.samples() if s.labels.get("function") == function.name]
    for name in ("faas_queue_seconds", "faas_start_seconds", "faas_run_seconds"):
        buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name == name + "_bucket"]
        assert buckets and buckets == sorted(buckets) and buckets[-1][0] == float("inf"), (name, buckets)
        counts = [value for _, value in buckets]
        assert counts == sorted(counts) and counts[-1] == 1
        assert [s.value for s in samples if s.name == name + "_count"] == [1]
    total = next(s.value for s in samples if s.name == "faas_run_seconds_sum")
    assert 0.14 < total < 2


def test_workers_by_state(system):
    workers = {s.labels["state"]: s.value for s in system.samples() if s.name == "faas_workers"}
    assert workers["ready"] >= 1, workers


def test_worker_calls_add_up(system):
    function = system.shared(Path("c/hello.c"), "c")
    before = sum(system.worker_calls().values())
    for _ in range(40):
        function.invoke()
    assert sum(system.worker_calls().values()) - before == 40


def test_queue_is_empty_in_the_end(system):
    function = system.shared("import time\ndef handler(e, c):\n    time.sleep(0.05)\n", "python", concurrency=1)
    faas.parallel(6, lambda i: function.invoke())
    faas.wait_until(lambda: system.metric("faas_queue_depth") == 0, 5, "queues empty")


def test_restarts_are_counted(start_system):
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    victim = system.pids("worker")[0]
    faas.kill(victim)
    faas.wait_until(lambda: system.metric("faas_worker_restarts_total") == 1, 5, "restart counted")
    faas.wait_until(lambda: len(system.pids("worker")) == 2 and victim not in system.pids("worker"), 5, "replaced")
    faas.wait_until(lambda: system.metric("faas_workers", state="ready") == 2, 5, "two ready")


def test_hostile_names_of_requests_do_not_become_series(system):
    before = len(system.samples())
    for i in range(50):
        system.request("POST", f"/invoke?fn=nobody{i}")
        system.request("GET", f"/no-such-route-{i}")
    assert len(system.samples()) <= before + 10


def test_labels_of_a_deleted_function_do_not_pile_up_for_ever(system):
    def rounds(count):
        for _ in range(count):
            function = system.deploy("print(1)\n", "python")
            function.invoke()
            function.delete()

    rounds(2)
    before = len(system.samples())
    rounds(8)
    assert len(system.samples()) <= before + 10

"""Every probe, as root and as an ordinary user (without and with control groups): its status and cause, nothing seen, nothing reached, nothing left."""

import dataclasses
import time

import faas
import pytest
import tiers
from host import payload_of
from probes import ENDED_AT_ONCE, PROBES, USED, FUNCTIONS

TIERS = ("root", "user", "delegated", "bare")


@pytest.fixture(scope="module")
def tier_of(request):
    """tier_of(name): the one instance of that tier; the deploys of all its probes are under way."""
    started = {}

    def start(name):
        if name not in started:
            if reason := tiers.reason_not_run(name):
                pytest.skip(reason)
            started[name] = tiers.Tier(name)
            rows = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
            started[name].start([row["probe"] for row in rows if row.get("tier_name") == name])
        return started[name]

    yield start
    for instance in started.values():
        instance.close()


def belongs(name, probe):
    """Control groups change what they bound only. Nothing but WASM is compiled where no namespace can be made, and all of its
    limits are tested without."""
    return probe.groups if name == "delegated" else name != "bare" or not (probe.build or probe.lang in ("c", "cpp", "rust"))


ROWS = [
    pytest.param(name, probe, id=f"{name}-{probe.file}", marks=pytest.mark.xdist_group(name))
    for name in TIERS for probe in PROBES if belongs(name, probe)
]  # fmt: skip


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def assert_refused(probe, answer):
    answer.assert_error(422, probe.build)
    assert "ESCAPED" not in answer.text


def assert_answer(probe, answer, log, at_once):
    """The right end, for the right reason, and the probe itself has seen nothing. at_once: it could not even begin."""
    text = answer.text
    if answer.status != 200:
        causes = None if at_once else tuple(cause for cause in as_tuple(probe.cause) if cause)
        text = answer.assert_error(answer.status, causes).get("output") or ""
    else:
        text = answer.output
    assert "ESCAPED" not in text + log, [line for line in (text + log).splitlines() if "ESCAPED" in line]
    if at_once:
        answer.assert_error(500, ("exit", "exception", "processes"))
        return
    assert answer.status in as_tuple(probe.status), answer
    assert probe.says in text, answer


@pytest.mark.parametrize("tier_name, probe", ROWS)
def test_probe(tier_of, tier_name, probe):
    tier = tier_of(tier_name)
    if probe.without and not tier.has("memory_group"):
        probe = dataclasses.replace(probe, status=probe.without[0], cause=probe.without[1])
    deployed = tier.deploys[probe.file].result()
    if deployed.status == 501:
        pytest.skip(f"{probe.file} not run in tier {tier.name}: {deployed.json['error']}")
    assert tier.host.canary not in tiers.text_of(deployed)
    if deployed.status != 201 or probe.status is None:
        assert_refused(probe, deployed)
        tier.assert_untouched()
        return
    function = faas.Function(tier.system, deployed)
    workers = tier.system.pids("worker")
    for number in range(probe.calls):
        start = time.monotonic()
        answer = function.invoke(payload_of(tier.target, call=number), timeout_s=90)
        took_s = time.monotonic() - start
        log = tier.log_of(function.name)
        assert tier.host.canary not in tiers.text_of(answer) + log
        assert_answer(probe, answer, log, tier_name == "bare" and probe.file in ENDED_AT_ONCE)
        assert took_s < (probe.params.get("timeout_ms", 10000) / 1000 + 5) * faas.PATIENCE
    tier.assert_untouched()
    if probe.lang not in ("python", "js"):
        assert tier.system.pids("worker") == workers, "a worker died"


def test_every_function_is_run_by_a_test():
    listed = {probe.file for probe in PROBES} | set(USED)
    there = {f"{path.parent.name}/{path.stem}" for path in FUNCTIONS.glob("*/*") if not path.name.startswith("_") and path.is_file()}
    assert there == listed
    assert len({probe.file for probe in PROBES}) == len(PROBES) >= 60
    for path in FUNCTIONS.glob("*/[!_]*"):
        if path.is_file():
            assert "Tries:" in path.read_text().splitlines()[0] and "Expected:" in "".join(path.read_text().splitlines(True)[:4]), path

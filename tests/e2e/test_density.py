"""Many functions: they are all there, soon, in little memory, and what tells of them stays small."""

import json
import os
import re
import time
from pathlib import Path

import pytest

import faas

COUNT = 2000
CALLED = 600  # more than have histograms of their own
SHOWN = 500


def clone(data_dir, function_id, count):
    """count functions with the code of one that is there, as many deploys would have made them; their names."""
    source = data_dir / function_id
    meta = json.loads((source / "metadata.json").read_text())
    names = [f"many-{i:04d}" for i in range(count)]
    for i, name in enumerate(names):
        clone_id = f"{name}_{1700000000 + i}"
        target = data_dir / clone_id
        target.mkdir(0o700)
        for file in ("code.c", "code.wasm", "code.cwasm"):
            os.link(source / file, target / file)
        text = json.dumps(meta | {"id": clone_id, "name": name, "created_s": 1700000000 + i}, separators=(",", ":"))
        (target / "metadata.json").write_text(text + "\n")
        (data_dir / "names" / name).symlink_to(f"../{clone_id}")
    return names


def listed(system):
    return [row["name"] for row in system.request("GET", "/functions").json["functions"]]


def pss_mib(pids):
    """Of those that are still there."""
    total = 0
    for pid in pids:
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1024


@pytest.fixture
def crowded(start_system):
    """(a started system of COUNT functions and one more, their names)"""
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    first = system.deploy(Path("c/hello.c"), "c", "hello")
    system.stop()
    names = clone(system.data_dir, first.id, COUNT)
    start = time.monotonic()
    system.start()
    assert time.monotonic() - start < 3 * faas.PATIENCE
    return system, names


def test_many_functions(crowded):
    system, names = crowded
    assert listed(system) == ["hello", *reversed(names)]
    assert pss_mib(system.pids("minifaas", "load_balancer", "server", "api_gateway", "worker")) < 30 * faas.PATIENCE

    with system.raw() as connection:
        for name in names[:CALLED] + names[:CALLED]:
            answer = connection.request("POST", f"/invoke?fn={name}")
            assert answer.status == 200 and answer.output == "Hello from FAAS!\n", (name, answer)

    samples = system.samples()
    counts = [s for s in samples if s.name == "faas_run_seconds_count"]
    assert sum(s.value for s in counts) == 2 * CALLED
    assert len(counts) == SHOWN + 1 and {s.labels["function"] for s in counts} - set(names) == {"_others"}
    others = next(s for s in counts if s.labels["function"] == "_others")
    assert others.value == 2 * (CALLED - SHOWN)
    assert sum(s.value for s in samples if s.name == "faas_calls_total") == 2 * CALLED

    gone = names[:CALLED:7]
    for name in gone:
        assert system.request("DELETE", f"/function/{name}").status == 204
        system.request("POST", f"/invoke?fn={name}").assert_error(404)
    left = [name for name in names if name not in gone]
    assert sorted(listed(system)) == sorted(["hello", *left])
    still = system.metric("faas_run_seconds_count", function="_others")
    assert still == others.value, "what was counted among the others stays there"

    system.stop()
    system.start()
    assert listed(system) == ["hello", *reversed(left)]
    assert system.request("POST", f"/invoke?fn={left[0]}").output == "Hello from FAAS!\n"
    assert system.request("POST", f"/invoke?fn={left[-1]}").output == "Hello from FAAS!\n"


def test_a_version_that_is_current_takes_the_place_of_an_old_one(crowded):
    system, names = crowded
    hello = faas.EXAMPLES / "c" / "hello.c"
    system.request("POST", f"/invoke?fn={names[0]}")
    with system.raw() as connection:
        for name in names[1:SHOWN]:
            connection.request("POST", f"/invoke?fn={name}")
    before = {s.labels["function"] for s in system.samples() if s.name == "faas_run_seconds_count"}
    assert before == set(names[:SHOWN])
    system.deploy(hello, "c", names[0], "PUT")
    system.request("POST", f"/invoke?fn={names[0]}")
    counts = {(s.labels["function"], s.labels["version"]): s.value
              for s in system.samples() if s.name == "faas_run_seconds_count"}  # fmt: skip
    assert counts[names[0], "2"] == 1 and (names[0], "1") not in counts
    assert counts["_others", ""] == 1 and len(counts) == SHOWN + 1


def test_a_function_is_ready_soon_after_its_deploy(start_system):
    """Its first call is no cold start, when it comes after the workers had a moment."""
    system = start_system(FAAS_WORKERS=2, FAAS_WORKERS_MAX=2)
    function = system.deploy(Path("c/hello.c"), "c")

    def images():
        """Workers that have the memory of a module mapped."""
        found = 0
        for pid in system.pids("worker"):
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            found += any("wasm-memory-image" in link for link in links)
        return found

    faas.wait_until(lambda: images() == 2, 10, "both workers made it ready")
    for _ in range(2):
        assert function.invoke().header("X-Cold-Start") == "false"

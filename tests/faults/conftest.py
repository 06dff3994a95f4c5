"""Fixtures of the fault tests: `preloaded` makes instances whose calls can be made to fail."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import faas  # noqa: E402
import faults  # noqa: E402

collect_ignore = []


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    built = faults.build(tmp_path_factory.mktemp("fault_inject"))
    if not built:
        pytest.skip("no C compiler to build tests/faults/fault_inject.c with")
    if "asan" in str(faas.BIN):
        pytest.skip("a sanitizer's build wants to be the first library")
    return built


def instance(faults_, **options):
    system = faas.System(**{"FAAS_WORKERS": 2, "FAAS_WORKERS_MAX": 2, **faults_.env, **options})
    system.faults = faults_
    return system


@pytest.fixture
def preloaded(library, tmp_path):
    """preloaded(FAAS_…=…): a started instance with .faults; stopped and checked at the end."""
    started = []

    def start(**options):
        started.append(instance(faults.Faults(tmp_path, library), **options))
        return started[-1].start()

    yield start
    try:
        for system in started:
            system.faults.disarm()
            print(system.tail(120))
            system.stop()
    finally:
        for system in started:
            system.remove()


@pytest.fixture
def start_system():
    """start_system(…): a started instance without the library; stopped and checked at the end."""
    started = []

    def start(**options):
        started.append(faas.System(**options))
        return started[-1].start()

    yield start
    try:
        for system in started:
            print(system.tail(120))
            system.stop()
    finally:
        for system in started:
            system.remove()

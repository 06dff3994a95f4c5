"""Fixtures: `system` is an instance that the tests of a run share, `start_system` makes one of a test's own."""

import pytest

import faas


@pytest.fixture(scope="session")
def session_system():
    instance = faas.System()
    try:
        instance.start()
        yield instance
        instance.stop()
    finally:
        instance.remove()


@pytest.fixture
def system(session_system):
    """No test may cost the shared instance one of its parts."""
    before = session_system.platform_pids()
    yield session_system
    after = session_system.platform_pids()
    assert after == before, f"a part died\n{session_system.tail()}"


@pytest.fixture
def start_system():
    """start_system(args=…, prefix=…, FAAS_WORKERS=1, …): a started instance, stopped and checked at the end."""
    instances = []

    def start(started=True, **options):
        instance = faas.System(**options)
        instances.append(instance)
        return instance.start() if started else instance

    yield start
    try:
        for instance in instances:
            print(instance.tail())  # shown when the test failed
            instance.stop()
    finally:
        for instance in instances:
            instance.remove()


@pytest.fixture
def start_process():
    """start_process(argv, env, cwd): a program of a test's own, gone at the end."""
    processes = []

    def start(argv, env, cwd=None):
        processes.append(faas.Process(argv, env, cwd))
        return processes[-1]

    yield start
    for process in processes:
        print(process.text())
        if process.popen.poll() is None:
            process.kill_tree()


def pytest_configure(config):
    """Also a run without pytest-xdist knows its marker."""
    config.addinivalue_line("markers", "xdist_group(name): tests of a group run in one process, in turn")

"""No function holds up another: floods, sleepers and long calls beside a quiet function."""

import threading
import time

import pytest

import faas

HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); }\n'
SLEEPER = "#include <unistd.h>\nint main(void) { usleep(200000); return 0; }\n"
BURNER = """#include <time.h>
int main(void) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000000LL + now.tv_nsec - start.tv_nsec < 3000000);
    return 0;
}
"""


class Flood:
    """So many clients that call a function one call after the other; all answers must be 200."""

    def __init__(self, function, clients):
        self.function, self.statuses, self.done = function, [], threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        while not self.done.is_set():
            self.statuses.append(self.function.invoke().status)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture(scope="module", params=["RR", "FIFO", "WEIGHTED"])
def system(request):
    instance = faas.System([request.param], FAAS_WORKERS=3, FAAS_WORKERS_MAX=3)
    instance.start()
    yield instance
    instance.stop()
    instance.remove()


def latencies_s(function, count):
    taken = []
    for _ in range(count):
        start = time.monotonic()
        assert function.invoke().status == 200
        taken.append(time.monotonic() - start)
    return sorted(taken)


def flood_until_known(flood, least):
    faas.wait_until(lambda: len(flood.statuses) >= least, 30, "the flood's first answers")


def test_a_function_that_sleeps_in_every_worker_leaves_one_to_a_quick_function(system):
    sleeper, hello = system.deploy(SLEEPER, "c"), system.deploy(HELLO, "c")
    latencies_s(hello, 20)
    with Flood(sleeper, 16) as flood:
        flood_until_known(flood, 12)
        quick = latencies_s(hello, 60)
    assert quick[len(quick) // 2] < 0.1, quick
    assert quick[-4] < 0.2, quick  # one that is stuck behind a sleeper waits up to 0.2 s, mostly more
    assert set(flood.statuses) == {200}


def test_when_no_quick_function_is_called_long_calls_use_all_workers(system):
    sleeper = system.deploy(SLEEPER, "c")
    latencies_s(sleeper, 3)
    overlap = 0
    deadline = time.monotonic() + 30
    while overlap < 3 and time.monotonic() < deadline:
        start = time.monotonic()
        answers = faas.parallel(3, lambda _: sleeper.invoke())
        assert [answer.status for answer in answers] == [200] * 3
        overlap = 3 if time.monotonic() - start < 0.39 else 0
    assert overlap == 3, "three sleeping calls never ran side by side in three workers"


def test_a_flood_of_long_calls_gets_its_share_beside_a_flood_of_quick_ones(system):
    burner, hello = system.deploy(BURNER, "c"), system.deploy(HELLO, "c")
    latencies_s(burner, 5)
    with Flood(hello, 8) as quick:
        flood_until_known(quick, 100)
        assert latencies_s(burner, 20)[-1] < 5
    assert set(quick.statuses) == {200}


def test_calls_of_one_function_do_not_wait_behind_its_own_long_ones(system):
    """What a payload makes slow is not known before: the others are taken back and sent elsewhere."""
    mixed = system.deploy(
        "#include <stdio.h>\n#include <unistd.h>\n"
        "int main(void) { if (getchar() == 's') usleep(300000); puts(\"ok\"); }\n",
        "c",
    )
    latencies_s(mixed, 20)
    slow = threading.Thread(target=lambda: [mixed.invoke(b"s") for _ in range(3)])
    slow.start()
    quick = latencies_s(mixed, 100)
    slow.join()
    assert quick[-5] < 0.15, quick[-10:]

"""The nth call of a function of the C library fails, in each part, while functions are deployed, called and started:
every answer is right or says what is wrong, none comes twice, nothing is lost, and no hand is needed afterwards.

The normal run tries the first calls. All of them (about half an hour):

    FAULTS_SWEEP=1 pytest -s tests/faults/test_injected.py
"""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import faas
import faults

SWEEP = "FAULTS_SWEEP" in os.environ
MOST = 400 if SWEEP else 4
ECHO_PY = "def handler(event, context):\n    return event\n"

CALLS = {
    "api_gateway": {"malloc": "ENOMEM", "write": "ENOSPC", "open": "EMFILE", "fsync": "EIO", "rename": "EIO",
                    "symlink": "ENOSPC", "mkdir": "ENOSPC", "unlink": "EIO", "fork": "EAGAIN", "pipe": "EMFILE",
                    "epoll_ctl": "ENOMEM", "epoll_wait": "EINTR", "accept": "EMFILE", "mmap": "ENOMEM",
                    "sendmsg": "ENOBUFS", "recvmsg": "ENOMEM", "read": "EIO", "pidfd_open": "EMFILE"},
    "server": {"malloc": "ENOMEM", "fork": "EAGAIN", "pipe": "EMFILE", "open": "EMFILE", "mmap": "ENOMEM",
               "memfd_create": "EMFILE", "socketpair": "EMFILE", "sendmsg": "ENOBUFS", "recvmsg": "ENOMEM",
               "epoll_ctl": "ENOMEM", "epoll_wait": "EINTR", "pidfd_open": "EMFILE", "accept": "EMFILE"},
    "load_balancer": {"malloc": "ENOMEM", "sendmsg": "ENOBUFS", "recvmsg": "ENOMEM", "epoll_ctl": "ENOMEM",
                      "epoll_wait": "EINTR", "accept": "EMFILE"},
    "worker": {"malloc": "ENOMEM", "open": "EMFILE", "read": "EIO", "mmap": "ENOMEM", "write": "EIO",
               "recvmsg": "ENOMEM", "sendmsg": "ENOBUFS"},
    "builder": {"malloc": "ENOMEM", "open": "EMFILE", "write": "ENOSPC", "fork": "EAGAIN", "pipe": "EMFILE",
                "mmap": "ENOMEM", "read": "EIO", "rename": "EIO"},
}  # fmt: skip


def ask(system, method, path, body=b""):
    """The answer, or None when the connection ended without one."""
    try:
        return system.request(method, path, body, timeout_s=30)
    except (OSError, faas.http.client.HTTPException):
        return None


def work(system, number, pythons):
    """A deploy, calls, a removal, and the end of a worker; what was deployed for sure, and what perhaps."""
    sure, perhaps = None, None
    name = f"new-{number}"
    answer = ask(system, "POST", f"/deploy?name={name}&lang=python", ECHO_PY.encode())
    if answer is not None and answer.status == 201:
        sure = name
    else:
        perhaps = name
        if answer is not None:
            answer.assert_error(answer.status)
            assert answer.status >= 500, answer
    for called in ("c-echo", pythons[number % len(pythons)], sure):
        if called:
            answer = ask(system, "POST", f"/invoke?fn={called}", b"%d" % number)
            if answer is not None and answer.status == 200:
                assert answer.output == f"{number}", answer
            elif answer is not None:
                answer.assert_error(answer.status)
                assert answer.status >= 500, answer
    if workers := system.pids("worker"):
        faas.kill(workers[0])
        with contextlib.suppress(AssertionError):  # whose start may be what fails
            faas.wait_until(lambda: len(set(system.pids("worker")) - set(workers)) == 1, 2, "the next worker")
    return sure, perhaps


def answers(system, name, number):
    answer = ask(system, "POST", f"/invoke?fn={name}", b"%d" % number)
    return answer is not None and answer.status == 200 and answer.output == f"{number}"


def recovered(system, number, sure, perhaps):
    """All is as before, without a hand."""
    faas.wait_until(lambda: answers(system, "c-echo", number), 20, f"calls of C again\n{system.tail()}")
    faas.wait_until(lambda: answers(system, "py-0", number), 20, f"calls of Python again\n{system.tail()}")
    if sure:
        faas.wait_until(lambda: answers(system, sure, number), 20, f"{sure}, which was deployed\n{system.tail()}")
    if perhaps:
        there = system.request("GET", f"/function/{perhaps}").status
        assert there in (200, 404)
        assert answers(system, perhaps, number) == (there == 200)
    again = system.try_deploy(ECHO_PY, "python", f"new-{number}", method="PUT")
    assert again.status == 201, again
    assert system.request("DELETE", f"/function/new-{number}").status == 204
    faas.wait_until(lambda: len(system.pids("worker")) == 2, 20, f"two workers\n{system.tail()}")
    assert not list(system.data_dir.glob(".stage-*")) or perhaps


def echo_wasm(directory):
    built = directory / "echo.wasm"
    subprocess.run(["clang", "--target=wasm32-wasi", "-O2", faas.EXAMPLES / "c/echo.c", "-o", built], check=True)
    return built.read_bytes()


@pytest.mark.parametrize("program", CALLS)
def test_the_nth_call_fails(preloaded, program, tmp_path):
    if program == "worker":  # behind its wall it takes over nothing of an environment, and so no library
        system = preloaded(FAAS_SANDBOX="off")
        system.deploy(echo_wasm(tmp_path), "wasm", "c-echo")
    else:
        system = preloaded()
        system.deploy(Path("c/echo.c"), "c", "c-echo")
    pythons = [system.deploy(ECHO_PY, "python", f"py-{i}").name for i in range(3)]
    number, tried, dead = 0, 0, []
    for function, error in CALLS[program].items():
        for nth in range(1, MOST + 1):
            number += 1
            said = len(system.process.lines)
            pids = system.platform_pids()
            system.faults.arm(program, function, error, nth)
            try:
                try:
                    sure, perhaps = work(system, number, pythons)
                finally:
                    hits = system.faults.disarm()
                recovered(system, number, sure, perhaps)
            except AssertionError as failed:
                raise AssertionError(f"{program}: {function} call {nth} fails with {error}: {failed}") from failed
            if hits == 0:
                break
            tried += 1
            if perhaps:
                assert len(system.process.lines) > said or system.pids, "a failure leaves a line in a log"
            if pids.get(program) and system.platform_pids().get(program) != pids[program]:
                dead.append(f"{function} {nth}")
    print(f"{program}: {tried} calls failed; it ended and was started again for: {', '.join(dead) or 'none'}")
    assert tried >= len(CALLS[program]) // 2


def test_a_full_disk_and_an_error_of_it_are_told_apart(preloaded):
    system = preloaded()
    for error, status, cause in (("ENOSPC", 507, "storage_full"), ("EIO", 500, "internal")):
        system.faults.arm("api_gateway", "fsync", error, times=1000)
        answer = system.try_deploy(ECHO_PY, "python", "f")
        assert system.faults.disarm() > 0
        answer.assert_error(status)
        assert system.request("GET", "/function/f").status == 404
    assert system.try_deploy(ECHO_PY, "python", "f").status == 201

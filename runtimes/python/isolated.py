"""isolation=call: the process that has imported the function's module forks for every call. The child runs it, leaves
its answer in a file in memory, and ends; nothing of it stays."""

import os
import time
from errno import EAGAIN
from signal import SIGKILL

from faas_runtime import frames
from faas_runtime.failure import Failure, describe
from faas_runtime.frames import Channel

# Pids that the server keeps free behind that of each process (src/server/process_pool.c), less some for what the
# function's own code starts: two calls do not share one.
CALLS, CALLS_FEW, MANY_PIDS = 400, 48, 1 << 20

TMP = "/tmp"

fork, waitpid, kill, getpid, exit_now = os.fork, os.waitpid, os.kill, os.getpid, os._exit
fstat, pread, pwritev, ftruncate = os.fstat, os.pread, os.pwritev, os.ftruncate
monotonic_ns = time.monotonic_ns


class ChildChannel(Channel):
    """Of the child: its one answer goes into the file."""

    def __init__(self, fd):
        self.fd = fd
        self.owned = True
        self.has_pipes = False
        self.unsent_since = 0
        os.register_at_fork(after_in_child=self.disown)

    def put(self, data, now):
        self.send((data,))

    def send(self, parts):
        at = 0
        parts = [memoryview(part) for part in parts if len(part) > 0]
        while parts:
            count = pwritev(self.fd, parts, at)
            at += count
            while parts and count >= len(parts[0]):
                count -= len(parts.pop(0))
            if count:
                parts[0] = parts[0][count:]

    def flush(self):
        pass


def calls_of_process():
    try:
        with open("/proc/sys/kernel/pid_max") as file:
            return CALLS if int(file.read()) >= MANY_PIDS else CALLS_FEW
    except (OSError, ValueError):
        return CALLS_FEW


def own_pids():
    """Who else lives in this process's pid namespace, but its init; None when it has none of its own."""
    if os.getppid() != 1:
        return None
    return {name for name in os.listdir("/proc") if name.isdecimal()} - {"1", str(getpid())}


def clear_tmp(spared):
    """Removes from /tmp, which is the sandbox's own, what was not there before the first call."""
    for name in os.listdir(TMP):
        if name not in spared:
            path = f"{TMP}/{name}"
            try:
                os.unlink(path)
            except IsADirectoryError:
                from shutil import rmtree

                rmtree(path, ignore_errors=True)
            except OSError:
                pass  # one that says that it is none of ours


def end_all(spared):
    """Ends what the call has left behind. Also what forks meanwhile is met: one system call for all."""
    if not spared:
        try:
            kill(-1, SIGKILL)
        except ProcessLookupError:
            pass
        return
    while left := own_pids() - spared:
        for pid in left:
            try:
                kill(int(pid), SIGKILL)
            except ProcessLookupError:
                pass


def make_isolated(server_class):
    class IsolatedServer(server_class):
        def __init__(self, channel, function, load):
            super().__init__(channel, function, load)
            self.file = os.memfd_create("answer", os.MFD_CLOEXEC)
            self.left = calls_of_process()
            self.spared = self.spared_files = None

        def serve(self):
            self.spared = own_pids()
            if self.spared is not None:
                self.spared_files = frozenset(os.listdir(TMP))
            super().serve()

        def answer(self, frame):
            if self.load_failure is not None or frame.body is None:
                super().answer(frame)
                return
            claimed = monotonic_ns()
            self.left -= 1
            if self.left == 0:
                self.flags |= frames.ANSWER_LAST
            try:
                child = fork()
            except OSError as error:
                self.refuse(frame, error)
                return
            if child == 0:
                self.run_child(frame, claimed)
            _, status = waitpid(child, 0)
            if self.spared is not None:
                end_all(self.spared)
                clear_tmp(self.spared_files)
            self.relay(frame, status, claimed)

        def run_child(self, frame, claimed):
            try:
                self.channel = ChildChannel(self.file)
                self.run_call(frame, claimed)
                exit_now(0)
            finally:
                exit_now(70)

        def refuse(self, frame, error):
            failure = describe(error, self.function)
            if error.errno == EAGAIN:
                failure.code = frames.ERR_PROCESSES
            self.channel.answer_failure(frame, self.flags, 0, 0, failure)

        def relay(self, frame, status, claimed):
            channel = self.channel
            code = os.waitstatus_to_exitcode(status)
            size = fstat(self.file).st_size
            if code == -SIGKILL:
                # By the memory limit, perhaps: only the server can see that, when this process ends the same way.
                kill(getpid(), SIGKILL)
            if code != 0 or size == 0:
                how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
                failure = Failure(frames.ERR_CRASH, f"the function's process {how}")
                channel.answer_failure(frame, self.flags, 0, monotonic_ns() - claimed, failure)
            elif size <= frames.OUTBOX_BYTES:
                channel.put(pread(self.file, size, 0), 0)
            else:
                channel.send_file(self.file, size)
            if size:
                ftruncate(self.file, 0)

    return IsolatedServer

"""isolation=call: the process that has imported the function's module forks for every call. The child runs it, leaves
its answer in a file in memory, and ends; nothing of it stays.

What a call is given and what it answers is never in the parent's memory, which every later child inherits: the parent
reads a frame's header, the child the rest of it, and the answer goes from the file into the pipe. A child has no
descriptor of the frames, and no way into the parent, whose memory the kernel shows to nobody."""

import os
import sys
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
fstat, pwritev, ftruncate = os.fstat, os.pwritev, os.ftruncate
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


def make_file():
    """For answers, without a name. Memory is not to be had where nothing counts it: then it lies in /tmp (or what stands in for
    it), and counts there."""
    try:
        return os.memfd_create("answer", os.MFD_CLOEXEC)
    except OSError:
        return os.open(os.environ.get("TMPDIR", TMP), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


PR_SET_DUMPABLE = 4


def set_dumpable(is_dumpable):
    """Whether others of our user may read and trace us. (The C library is the only way there.)"""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(is_dumpable), 0, 0, 0)
    except ImportError:
        sys.stderr.write("faas: this Python has no ctypes: a call can reach into the process that forks for the next one\n")


def make_isolated(server_class):
    class IsolatedServer(server_class):
        def __init__(self, channel, function, load):
            super().__init__(channel, function, load)
            self.file = make_file()
            self.left = calls_of_process()
            self.spared = self.spared_files = None
            self.header, self.rest = b"", (frames.HEADER_BYTES, 0)

        def serve(self):
            self.spared = own_pids()
            if self.spared is not None:
                self.spared_files = frozenset(os.listdir(TMP))
            self.channel.read_rest = self.leave
            set_dumpable(False)
            super().serve()

        def leave(self, frame, body_at, body_len):
            """In place of reading the rest of a frame, of which the channel holds the header."""
            self.rest = body_at, body_len
            self.header, self.channel.data = self.channel.data, b""
            frame.head, frame.body = "", b""

        def skip(self, frame):
            """Reads the rest past this process's memory."""
            null = os.open(os.devnull, os.O_WRONLY)
            left = sum(self.rest) - frames.HEADER_BYTES
            while left > 0:
                count = os.splice(frames.IN, null, left)
                if count == 0:
                    raise frames.FrameError("the input ended inside a frame")
                left -= count
            os.close(null)

        def answer(self, frame):
            if self.load_failure is not None:
                self.skip(frame)
                super().answer(frame)
                return
            claimed = monotonic_ns()
            self.left -= 1
            if self.left == 0:
                self.flags |= frames.ANSWER_LAST
            channel = self.channel
            channel.has_pipes = False  # the child still needs them
            try:
                child = fork()
            except OSError as error:
                channel.has_pipes = True
                self.skip(frame)
                self.refuse(frame, error)
                return
            if child == 0:
                self.run_child(frame, claimed)
            channel.has_pipes = True
            _, status = waitpid(child, 0)
            if self.spared is not None:
                end_all(self.spared)
                clear_tmp(self.spared_files)
            self.relay(frame, status, claimed)

        def run_child(self, frame, claimed):
            try:
                self.channel.data = self.header
                Channel.read_rest(self.channel, frame, *self.rest)
                self.channel.close()
                self.channel.unmap_page()
                self.channel = ChildChannel(self.file)
                set_dumpable(True)
                if frame.body is None:
                    super().answer(frame)
                else:
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
                # It may have left a part of its frame unread.
                self.flags |= frames.ANSWER_LAST
                how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
                failure = Failure(frames.ERR_CRASH, f"the function's process {how}")
                channel.answer_failure(frame, self.flags, 0, monotonic_ns() - claimed, failure)
            else:
                channel.send_file(self.file, size)
            if size:
                ftruncate(self.file, 0)

    return IsolatedServer

"""Instances whose parts run with fault_inject.c preloaded, and the means to say what is to fail."""

import errno
import mmap
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import faas  # noqa: E402

HERE = Path(__file__).resolve().parent
# armed, nth, times, errno, count, hits, program, function, the two clocks, directory, socket
CONTROL = struct.Struct("=6I32s32sqq256s104s")
CLOCKS_AT = 88


def build(directory):
    """The library; None without a compiler."""
    compiler = shutil.which("cc")
    library = Path(directory) / "fault_inject.so"
    if compiler:
        subprocess.run([compiler, "-std=gnu17", "-O1", "-shared", "-fPIC", "-o", library, HERE / "fault_inject.c",
                        "-ldl"], check=True)  # fmt: skip
    return library if compiler else None


class Faults:
    """What is to happen, in a file that every process of the instance has mapped."""

    def __init__(self, directory, library):
        self.path = Path(directory) / "control"
        self.path.write_bytes(bytes(CONTROL.size))
        self.env = {"LD_PRELOAD": library, "FAULT_CONTROL": self.path}
        with open(self.path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), CONTROL.size)

    def _set(self, at, format_, *values):
        struct.pack_into("=" + format_, self.memory, at, *values)

    def arm(self, program, function, error, nth=1, times=1):
        """From now on the nth call of that function in that program, and `times` in all, fail."""
        self._set(0, "I", 0)
        self._set(4, "5I32s32s", nth, times, getattr(errno, error), 0, 0, program.encode(), function.encode())
        self._set(0, "I", 1)

    def disarm(self):
        """How many calls failed."""
        self._set(0, "I", 0)
        return struct.unpack_from("=I", self.memory, 20)[0]

    def jump(self, realtime_s=0, monotonic_s=0):
        """The clocks, of every part at once."""
        self._set(CLOCKS_AT, "qq", int(realtime_s * 1e9), int(monotonic_s * 1e9))

    def watch(self, directory, address):
        self._set(CLOCKS_AT + 16, "256s104s", str(directory).encode(), str(address).encode())


class Steps:
    """What is done to a directory, one step after the other: on_step(what, path) is called when a step was done and
    before the process that did it goes on."""

    def __init__(self, faults, directory, on_step):
        self.faults, self.directory, self.on_step = faults, Path(directory).resolve(), on_step
        self.address = faults.path.with_name("steps")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.count, self.error = 0, None

    def __enter__(self):
        self.address.unlink(missing_ok=True)
        self.socket.bind(str(self.address))
        self.socket.listen(64)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.faults.watch(self.directory, self.address)
        return self

    def __exit__(self, *_):
        self.faults.watch("", "")
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()
        if self.error:
            raise self.error

    def _serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                what, _, path = os.fsdecode(peer.recv(8192)).partition(" ")
                self.count += 1
                try:
                    if not self.error:
                        self.on_step(what, path)
                except BaseException as error:  # noqa: BLE001: shown by the thread that waits
                    self.error = error
                try:
                    peer.send(b"x")
                except OSError:
                    pass  # it was killed

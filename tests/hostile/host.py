"""What the probes attack: a secret in files, in sources and in environments; listeners; a process. And what is counted: what
reached them, what was left. All of it is the test's own, on loopback, in a folder of its own."""

import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import faas


class Listener:
    """Connections wait in its queue until they are counted."""

    def __init__(self, family, address, kind=socket.SOCK_STREAM):
        self.socket = socket.socket(family, kind)
        self.socket.bind(address)
        self.stream = kind != socket.SOCK_DGRAM
        if self.stream:
            self.socket.listen(64)
        self.socket.setblocking(False)
        self.count = 0

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def arrived(self):
        try:
            while True:
                if self.stream:
                    self.socket.accept()[0].close()
                else:
                    self.socket.recv(2048)
                self.count += 1
        except BlockingIOError:
            return self.count


class Host:
    def __init__(self, uid):
        self.canary = "canary" + os.urandom(8).hex()  # what no function may ever see
        self.marker = os.urandom(6).hex()  # by which what a probe leaves is found
        self.folder = Path(tempfile.mkdtemp(prefix="hostile-", dir="/var/tmp"))
        self.drop = self.folder / "drop"
        self.drop.mkdir()
        os.chmod(self.folder, 0o755)
        os.chmod(self.drop, 0o777)
        self.secret = self.folder / "secret.h"
        self.secret.write_text(f"{self.canary} {self.canary}\n")
        self.uid = uid
        self.victim = subprocess.Popen(
            ["sleep", "600"], env={"FAAS_CANARY": self.canary, "PATH": os.environ["PATH"]}, **self.as_user()
        )
        unix_path = str(self.folder / "listener")
        self.listeners = {
            "tcp": Listener(socket.AF_INET, ("127.0.0.1", 0)),
            "tcp6": Listener(socket.AF_INET6, ("::1", 0)) if self.has_ipv6() else Listener(socket.AF_INET, ("127.0.0.1", 0)),
            "udp": Listener(socket.AF_INET, ("", 0), socket.SOCK_DGRAM),
            "unix": Listener(socket.AF_UNIX, unix_path),
            "abstract": Listener(socket.AF_UNIX, f"\0hostile-{self.marker}"),
        }
        os.chmod(unix_path, 0o777)
        self.unix = unix_path

    def as_user(self):
        return {"user": self.uid, "group": self.uid, "extra_groups": []} if self.uid is not None else {}

    @staticmethod
    def has_ipv6():
        try:
            socket.socket(socket.AF_INET6).bind(("::1", 0))
            return True
        except OSError:
            return False

    def target(self, system=None, code=None):
        """What a probe is told."""
        pids = {self.victim.pid, os.getpid()}
        if system:
            pids |= {proc.pid for proc in system.procs()}
        free = socket.socket()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        return {
            "secret": str(self.secret), "drop": str(self.drop), "marker": self.marker, "unix": self.unix,
            "abstract": f"hostile-{self.marker}", "tcp": self.listeners["tcp"].port, "tcp6": self.listeners["tcp6"].port,
            "udp": self.listeners["udp"].port, "free": port, "pids": sorted(pids)[:40],
            "gateway": system.address[1] if system else self.listeners["tcp"].port,
            "code": str(code or self.secret), "data": str(system.data_dir if system else self.folder),
            "run": str(system.run_dir if system else self.folder), "bin": str(system.bin_dir if system else faas.BIN),
            "conf": str(system.home / "minifaas.conf" if system else self.secret),
        }  # fmt: skip

    def marked(self):
        """Processes that a probe has marked as its own."""
        names = (b"hst-" + self.marker[:10].encode(), b"hostile-" + self.marker.encode())
        found = []
        for proc in faas.all_procs():
            try:
                command = Path(f"/proc/{proc.pid}/cmdline").read_bytes()
            except OSError:
                continue
            if proc.state not in "ZX" and (proc.comm.encode() == names[0] or names[1] in command):
                found.append(proc)
        return found

    def effects(self):
        """All that reached the host; empty when nothing did."""
        found = [f"file {path.name}" for path in self.drop.iterdir()]
        found += [f"{name}: {count} arrived" for name, listener in self.listeners.items() if (count := listener.arrived())]
        for name in ("shm", "sem", "msg"):
            lines = Path(f"/proc/sysvipc/{name}").read_text().splitlines()[1:]
            found += [f"System V {name}" for line in lines if int(line.split()[0]) & 0xFFFFFFFF == int(self.marker[:7], 16)]
        found += [str(path) for path in Path("/dev/shm").glob(f"hostile-{self.marker}*")]
        try:
            found += [line for line in Path("/proc/keys").read_text().splitlines() if self.marker in line]
        except OSError:
            pass
        found += [f"core file {path}" for path in self.folder.glob("core*")]
        if self.victim.poll() is not None:
            found.append("the victim is gone")
        return found

    def snapshot(self, folder):
        """Names, owners, modes and contents below a folder."""
        state = {}
        for path in sorted(Path(folder).rglob("*")):
            status = path.lstat()
            content = hashlib.blake2b(path.read_bytes()).digest() if stat.S_ISREG(status.st_mode) else b""
            state[str(path)] = (status.st_mode, status.st_uid, content)
        return state

    def close(self):
        self.victim.kill()
        self.victim.wait()
        for proc in self.marked():
            faas.kill(proc.pid)
        for listener in self.listeners.values():
            listener.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def payload_of(target, **more):
    return json.dumps({**target, **more}).encode()

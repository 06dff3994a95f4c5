"""Loss of power, and SIGKILL, at each step of what is done to the data directory.

The parts run with fault_inject.c, which stops at each change below the data directory. At each step the test knows what
is on the disk for sure (what was fsynced), and what is only in memory. From that it makes the directories that a loss
of power may leave: none of what was not synced, all of it, and mixtures, with files cut off or full of zeros. In each of
them a gateway that is started finds the old state or the new one, and nothing else; after an answer, the new one."""

import os
import random
import shutil
from pathlib import Path

import pytest

import faas
import faults

SWEEP = "FAULTS_SWEEP" in os.environ
MIXTURES = 12 if SWEEP else 2
ONE_PY = "def handler(event, context):\n    return 1\n"
TWO_PY = "def handler(event, context):\n    return 2\n"


def look(path):
    """What an entry is: its inode, and what it holds."""
    about = path.lstat()
    if path.is_symlink():
        return about.st_ino, "link", os.readlink(path)
    if path.is_dir():
        return about.st_ino, "dir", None
    return about.st_ino, "file", path.read_bytes()


class Disk:
    """What is there, and how much of it would be there after a loss of power."""

    def __init__(self, root):
        self.root = Path(root)
        self.files, self.dirs = {}, {}  # by inode, as synced last: bytes; {name: (inode, kind, content of a link)}
        for path in [self.root, *self.root.rglob("*")]:  # what was there before is long on the disk
            self.sync(path)

    def sync(self, path):
        inode, kind, content = look(path)
        if kind == "file":
            self.files[inode] = content
        elif kind == "dir":
            self.dirs[inode] = self._entries(path)

    @staticmethod
    def _entries(path):
        entries = {}
        for child in path.iterdir():
            try:
                inode, kind, content = look(child)
            except FileNotFoundError:
                continue
            entries[child.name] = (inode, kind, content if kind == "link" else None)
        return entries

    def now(self):
        """All as the kernel has it, by inode."""
        files, dirs = {}, {}
        for path in [self.root, *self.root.rglob("*")]:
            try:
                inode, kind, content = look(path)
                if kind == "file":
                    files[inode] = content
                elif kind == "dir":
                    dirs[inode] = self._entries(path)
            except FileNotFoundError:
                continue
        return files, dirs

    def after_power_loss(self, target, choose):
        """Writes what is left to `target`. choose(kind, synced, unsynced) says which of the two is on the disk."""
        files, dirs = self.now()

        def write_dir(inode, at):
            at.mkdir()
            synced, latest = self.dirs.get(inode, {}), dirs.get(inode)
            if latest is None:
                latest = synced
            for name in {*synced, *latest}:
                entry = choose("entry", synced.get(name), latest.get(name))
                if entry is None:
                    continue
                child, kind, link = entry
                if kind == "link":
                    (at / name).symlink_to(link)
                elif kind == "dir":
                    write_dir(child, at / name)
                else:
                    content = choose("file", self.files.get(child, b""), files.get(child, self.files.get(child, b"")))
                    (at / name).write_bytes(content)

        write_dir(self.root.lstat().st_ino, target)


def nothing(kind, synced, unsynced):
    return synced


def everything(kind, synced, unsynced):
    return unsynced


def mixture(rng):
    def choose(kind, synced, unsynced):
        if kind == "entry" or synced == unsynced or rng.random() < 0.3:
            return rng.choice((synced, unsynced))
        cut = rng.randrange(len(unsynced) + 1)  # torn: a part of it, or blocks that were never written
        return rng.choice((unsynced[:cut], unsynced[:cut] + bytes(len(unsynced) - cut), bytes(len(unsynced))))

    return choose


class Checker:
    """Starts a gateway on a directory and asks it what is there."""

    def __init__(self, home):
        self.home, self.count, self.whole = Path(home), 0, {}

    def learn(self, data_dir):
        """What is there is whole: the files of each version, {id: {file: [contents]}}."""
        for path in Path(data_dir).glob("*_*/*"):
            self.whole.setdefault(path.parent.name, {}).setdefault(path.name, []).append(path.read_bytes())

    def state(self, data_dir):
        """{name: version}, and each must be whole."""
        self.count += 1
        run_dir = self.home / f"run-{self.count}"
        env = faas.clean_env(FAAS_DATA_DIR=data_dir, FAAS_RUN_DIR=run_dir, FAAS_LOG_DIR=self.home / "log",
                             FAAS_LISTEN="127.0.0.1:0", FAAS_CONFIG="/dev/null")  # fmt: skip
        run_dir.mkdir()
        process = faas.Process([faas.BIN / "api_gateway"], env, self.home)
        try:
            system = faas.System.__new__(faas.System)
            found = process.wait_line(r"api_gateway listening on (\S+):(\d+)", 20)
            system.address, system.token = (found[1], int(found[2])), None
            rows = system.request("GET", "/functions").json["functions"]
            state = {}
            for row in rows:
                version = system.request("GET", f"/function/{row['name']}").json
                # (A change that was not finished leaves .metadata.next, which the next one replaces.)
                files = {path.name: path.read_bytes() for path in (Path(data_dir) / version["id"]).glob("[!.]*")}
                whole = self.whole[version["id"]]
                assert files.keys() == whole.keys(), version
                assert all(files[name] in whole[name] for name in files), f"{version}: not as it was written"
                state[row["name"]] = version["version"]
            assert not list(Path(data_dir).glob(".stage-*")), "what was not finished is swept"
            return state
        finally:
            process.popen.kill()
            process.popen.wait()


@pytest.mark.parametrize("operation", ["deploy", "compile", "update", "limits", "delete"])
def test_power_is_lost_at_each_step(preloaded, tmp_path, operation):
    system = preloaded()
    checker, rng, seed = Checker(tmp_path), None, int.from_bytes(os.urandom(4), "little")
    rng = random.Random(seed)
    print(f"seed {seed}")
    assert system.try_deploy(ONE_PY, "python", "other").status == 201
    new = operation in ("deploy", "compile")
    if not new:
        assert system.try_deploy(ONE_PY, "python", "f").status == 201
    before = {"other": 1} if new else {"other": 1, "f": 1}
    after = {"update": {"other": 1, "f": 2}, "delete": {"other": 1}}.get(operation, {"other": 1, "f": 1})
    checker.learn(system.data_dir)
    disk, images = Disk(system.data_dir), []

    def keep(step):
        """The directories that a loss of power may leave now."""
        for index, choose in enumerate([nothing, everything, *(mixture(rng) for _ in range(MIXTURES))]):
            image = tmp_path / f"image-{len(images)}-{index}"
            disk.after_power_loss(image, choose)
            images.append((step, image))

    def on_step(what, path):
        if what == "fsync":
            disk.sync(Path(path))
        keep(f"{what} {Path(path).relative_to(system.data_dir.resolve())}")

    with faults.Steps(system.faults, system.data_dir, on_step) as steps:
        if operation == "limits":
            answer = system.request("PATCH", "/function/f?timeout_ms=4321")
        elif operation == "delete":
            answer = system.request("DELETE", "/function/f")
        elif operation == "compile":
            answer = system.try_deploy((faas.EXAMPLES / "c/echo.c").read_text(), "c", "f")
        else:
            answer = system.try_deploy(ONE_PY if operation == "deploy" else TWO_PY, "python", "f",
                                       method="POST" if new else "PUT")  # fmt: skip
        assert answer.status in (200, 201, 204), answer
    assert steps.count > (3 if operation in ("limits", "delete") else 8)
    answered = len(images)
    checker.learn(system.data_dir)
    keep("answered")

    states = []
    for at, (step, image) in enumerate(images):
        state = checker.state(image)
        assert state in (before, after), f"after '{step}' ({image}): {state} is neither {before} nor {after}"
        if at >= answered:
            assert state == after, f"what was answered is not on the disk: {image}"
        states.append(state)
        shutil.rmtree(image)
    print(f"{operation}: {steps.count} steps, {len(images)} images: {states.count(before)} old, {states.count(after)} new")
    if before != after:
        assert before in states and after in states


PARTS = ("api_gateway", "server", "load_balancer", "builder", "minifaas")


@pytest.mark.parametrize("part", PARTS)
def test_sigkill_at_each_step_of_a_deploy(preloaded, part):
    """The whole instance goes on or is started again; a function is there wholly or not at all."""
    system = preloaded()
    other = system.deploy(ONE_PY, "python", "other")
    with faults.Steps(system.faults, system.data_dir, lambda *_: None) as steps:
        system.deploy(ONE_PY, "python", "whole")
    killed = 0
    for at in range(1, steps.count + 1, 1 if SWEEP or part == "builder" else 4):
        name = f"f-{at}"
        victims = []

        def on_step(what, path, at=at, victims=victims):
            victims.append(None)
            if len(victims) == at:
                victims.extend([system.pid] if part == "minifaas" else system.pids(part))
                for pid in filter(None, victims):
                    faas.kill(pid)

        with faults.Steps(system.faults, system.data_dir, on_step):
            try:
                answer = system.try_deploy(ONE_PY, "python", name)
            except (OSError, faas.http.client.HTTPException):
                answer = None
        killed += any(victims)
        if part == "minifaas":
            faas.wait_until(lambda: not faas.orphans(), 15, lambda: f"nothing is left: {faas.orphans()}")
            system.process.wait()
            system.start()
        faas.wait_until(lambda: calls(system, other.name), 20, f"calls again\n{system.tail()}")
        there = system.request("GET", f"/function/{name}").status
        assert there in (200, 404)
        if answer is not None and answer.status == 201:
            assert there == 200, "what was answered is there"
        elif answer is not None:
            answer.assert_error(answer.status)
            assert there == 404, answer
        if there == 200:
            assert calls(system, name)
        assert system.try_deploy(TWO_PY, "python", name, method="PUT").status == 201
        assert system.request("POST", f"/invoke?fn={name}").output == "2"
    assert killed >= 2, f"{killed} kills"
    print(f"{part}: {killed} kills")


def calls(system, name):
    try:
        return system.request("POST", f"/invoke?fn={name}").output == "1"
    except (OSError, AssertionError, faas.http.client.HTTPException):
        return False

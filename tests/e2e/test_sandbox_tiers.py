"""How far the walls go: as root, as an ordinary user, without namespaces, switched off, and required."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import faas

ORDINARY = 1000
HELLO_PY = "print('hello')\n"
SEALED = pytest.mark.skipif("asan" in str(faas.BIN), reason="the workers of a sanitizer's build do not seal themselves")
ROOT = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
# Root of a user namespace that allows no further ones and has no capability: as in a container without rights.
NEITHER = ["unshare", "--user", "--map-root-user", "sh", "-c",
           'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"', "sh"]  # fmt: skip


def tier(system):
    shown = {name: system.metric("faas_sandbox_tier", tier=name) for name in ("off", "process", "namespaces", "full")}
    assert sorted(shown.values()) == [0, 0, 0, 1]
    (name,) = (name for name, value in shown.items() if value)
    assert system.request("GET", "/readyz").json == {"ok": True, "sandbox": name}
    return name


def walls(system):
    names = ("namespaces", "own_users", "memory_group", "process_group", "landlock", "seccomp")
    return {name for name in names if system.metric("faas_sandbox_wall", wall=name)}


def worker_status(system):
    (pid,) = system.pids("worker")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def needs_root_tier(system):
    if "namespaces" not in walls(system):
        pytest.skip("this machine gives no namespaces")


@contextlib.contextmanager
def as_ordinary_user(prefix=(), **env):
    """Executables where everybody can read them, and a system of user 1000."""
    place = Path(subprocess.check_output(["mktemp", "-d", "/tmp/faas-user.XXXXXX"], text=True).strip())
    try:
        shutil.copytree(faas.BIN, place / "bin", symlinks=True)
        os.chmod(place, 0o755)
        user = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", *prefix]
        system = faas.System(prefix=user, bin_dir=place / "bin", owner=ORDINARY, **env)
        try:
            yield system
        finally:
            print(system.tail())
            system.remove()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def refuses_to_start(system, *words):
    process = system.launch().process
    assert process.wait(15) != 0
    text = process.text()
    system.process = None
    for word in words:
        assert word in text, text
    assert not faas.orphans()


# --- root -----------------------------------------------------------------------------------------------------------


@ROOT
def test_all_walls_as_root(start_system):
    system = start_system(FAAS_WORKERS=1)
    there = walls(system)
    (line,) = (line for line in system.process.lines if "sandbox: tier" in line)
    if len(there) < 6:
        assert tier(system) != "full" and "not to be had here" in line
        pytest.skip(f"this machine does not give all walls: {line}")
    assert tier(system) == "full"
    assert "tier 'full': namespaces, user ids of their own, control group" in line and "missing" not in line


@SEALED
@ROOT
def test_a_worker_is_behind_the_second_wall(start_system):
    system = start_system(FAAS_WORKERS=1)
    needs_root_tier(system)
    function = system.deploy(Path("c/hello.c"), "c")
    assert function.invoke().status == 200
    (pid,) = system.pids("worker")
    status = worker_status(system)
    assert {status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert set(status["Uid"].split()) == set(status["Gid"].split()) != {"0"}
    root = Path(f"/proc/{pid}/root")
    assert sorted(os.listdir(root)) == ["bin", "dev", "etc", "faas", "functions", "lib", "lib64", "proc", "sbin",
                                        "tmp", "usr"] or not (root / "home").exists()  # fmt: skip
    assert not (root / "etc/passwd").exists() and not (root / "root").exists()
    assert function.id in os.listdir(root / "functions")
    for name in ("mnt", "pid", "net", "ipc", "uts"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert [entry for entry in environment if entry and not entry.startswith((b"FAAS_SANDBOX=", b"ASAN", b"UBSAN"))] == []


@ROOT
def test_artefacts_stay_closed_to_everybody_else(start_system):
    """The workers' own user reads them through a mapping of its own, not because they are open."""
    system = start_system(FAAS_WORKERS=1)
    function = system.deploy(Path("c/hello.c"), "c")
    assert function.invoke().status == 200
    for path in (system.data_dir / function.id).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.stat().st_uid == 0


@ROOT
def test_workers_come_back_when_the_holder_of_their_namespaces_is_killed(start_system):
    system = start_system(FAAS_WORKERS=2)
    needs_root_tier(system)
    function = system.deploy(Path("c/hello.c"), "c")
    before = system.pids("worker")
    (holder,) = system.pids("spare-nest")
    faas.kill(holder)
    faas.wait_until(lambda: len(set(system.pids("worker")) - set(before)) == 2, 10, "new workers")
    faas.wait_until(lambda: function.invoke().status == 200, 10, "an answer")
    assert [pid for pid in system.pids("spare-nest") if pid != holder]


@ROOT
def test_workers_that_outlive_their_server_keep_their_namespaces(start_system):
    system = start_system(FAAS_WORKERS=1)
    needs_root_tier(system)
    function = system.deploy(Path("c/hello.c"), "c")
    slow = system.deploy("#include <unistd.h>\nint main(void) { usleep(1500000); return write(1, \"x\", 1) != 1; }\n", "c")
    answers = faas.parallel(2, lambda i: slow.invoke() if i else faas.kill(system.pid_of("server")))
    assert answers[1].status == 200, answers
    faas.wait_until(lambda: len(system.pids("spare-nest")) == 1 and len(system.pids("worker")) == 1, 15, "one of each")
    assert function.invoke().status == 200


def test_processes_of_two_functions_share_nothing(system):
    needs_root_tier(system)
    look = """
import json, os, socket
def handler(event, context):
    try:
        mine = socket.socket(socket.AF_UNIX); mine.bind("\\0faas-test"); mine.listen(); globals()["kept"] = mine
    except OSError as error:
        return "socket: %r" % error
    open("/tmp/mark", "w").close()
    return json.dumps([os.listdir("/dev/shm"), sorted(p for p in os.listdir("/proc") if p.isdigit()), os.getuid()])
"""
    meet = """
import os, socket
def handler(event, context):
    found = []
    try:
        socket.socket(socket.AF_UNIX).connect("\\0faas-test"); found.append("socket")
    except OSError:
        pass
    found += [name for name in os.listdir("/tmp") + os.listdir("/dev/shm") if name == "mark"]
    for pid in range(2, 2000):
        if pid != os.getpid():
            try:
                os.kill(pid, 0); found.append(pid)
            except ProcessLookupError:
                pass
    return found
"""
    one, two = system.deploy(look, "python"), system.deploy(meet, "python")
    assert "socket" not in one.invoke().output
    users = {Path(f"/proc/{p.pid}").stat().st_uid for p in system.procs("worker-python")}
    assert two.invoke().output == "[]"
    assert os.getuid() != 0 or len(users - {0}) >= 1
    users = {Path(f"/proc/{p.pid}").stat().st_uid for p in system.procs("worker-python")}
    assert os.getuid() != 0 or len(users - {0}) >= 2


# --- an ordinary user -------------------------------------------------------------------------------------------------


@SEALED
@ROOT
def test_namespaces_of_an_ordinary_user():
    with as_ordinary_user(FAAS_WORKERS=1) as system:
        system.start(30)
        if tier(system) != "namespaces":
            pytest.skip("this machine gives an ordinary user no namespaces")
        assert "own_users" not in walls(system)
        (line,) = (line for line in system.process.lines if "sandbox: tier" in line)
        assert "not to be had here: user ids of their own" in line
        assert system.deploy(Path("c/hello.c"), "c").invoke().status == 200
        assert system.deploy(HELLO_PY, "python").invoke().output == "hello\n"
        status = worker_status(system)
        assert (status["Seccomp"], status["NoNewPrivs"], status["CapEff"]) == ("2", "1", "0" * 16)
        assert os.readlink(f"/proc/{system.pids('worker')[0]}/ns/user") != os.readlink("/proc/self/ns/user")
        system.stop()


@ROOT
def test_require_refuses_below_the_full_tier():
    with as_ordinary_user(FAAS_SANDBOX="require") as system:
        refuses_to_start(system, "FAAS_SANDBOX=require", "user ids of their own")


@ROOT
def test_require_is_content_with_the_full_tier(start_system):
    probe = start_system(FAAS_WORKERS=1)
    missing = len(walls(probe)) < 6
    if missing:
        refuses_to_start(start_system(started=False, FAAS_SANDBOX="require"), "FAAS_SANDBOX=require")
    else:
        assert tier(start_system(FAAS_SANDBOX="require", FAAS_WORKERS=1)) == "full"


# --- neither --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare():
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    if subprocess.run(["setpriv", "--reuid=1000", "--clear-groups", *NEITHER, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces, to make one in which there are no more")
    with as_ordinary_user(NEITHER, FAAS_WORKERS=1) as system:
        system.start(30)
        server = system.pid_of("server")
        yield system
        system.stop()
        faas.wait_until(lambda: not list(Path("/tmp").glob(f"minifaas-tmp-{server}-*")), 10, "nothing left in /tmp")


@SEALED
def test_without_namespaces_the_other_walls_stand(bare):
    assert tier(bare) == "process"
    (line,) = (line for line in bare.process.lines if "sandbox: tier" in line)
    assert "not to be had here: namespaces" in line
    status = worker_status(bare)
    assert (status["NoNewPrivs"], status["Seccomp"], status["CapEff"]) == ("1", "2", "0" * 16)


@pytest.mark.parametrize(("lang", "source"), [("python", HELLO_PY), ("js", "console.log('hello')\n")])
def test_without_namespaces_functions_run(bare, lang, source):
    assert bare.deploy(source, lang).invoke().output == "hello\n"


def test_without_namespaces_nothing_is_compiled(bare):
    answer = bare.try_deploy(Path("c/hello.c").name, "c")
    assert answer.status == 501 and "namespaces" in answer.json["error"], answer


ATTEMPTS = {
    "read a file of the host": "open('/etc/passwd').read()",
    "list a directory of the host": "os.listdir('/root' if os.access('/root', os.R_OK) else '/home')",
    "read a parent's environment": "open('/proc/%d/environ' % os.getppid(), 'rb').read()",
    "write to the shared /tmp": "open('/tmp/faas-test-mark', 'w')",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "start a process": "os.fork() or os._exit(0)",
    "make a TCP socket": "socket.socket(socket.AF_INET)",
    "make a UDP socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "make a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_without_namespaces_a_function_may_not(bare, attempt):
    if attempt == "signal the parent" and bare.metric("faas_sandbox_wall", wall="seccomp") == 0:
        pytest.skip("needs seccomp")
    if "file" in attempt or "directory" in attempt or "environment" in attempt or "write" in attempt:
        if bare.metric("faas_sandbox_wall", wall="landlock") == 0:
            pytest.skip("needs Landlock")
    source = f"import os, socket\ntry:\n    {ATTEMPTS[attempt]}\n    print('did')\nexcept OSError as error:\n    print('no')\n"
    assert bare.deploy(source, "python").invoke().output == "no\n"
    assert not Path("/tmp/faas-test-mark").exists()


def test_without_namespaces_a_function_has_a_tmp_of_its_own(bare):
    source = """
import os, tempfile
path = os.path.join(tempfile.gettempdir(), "deep")
for i in range(50):
    path = os.path.join(path, "d"); os.makedirs(path)
open(os.path.join(path, "f"), "w").write("x")
os.chmod(tempfile.gettempdir() + "/deep", 0)
print(tempfile.gettempdir())
"""
    place = bare.deploy(source, "python").invoke().output.strip()
    assert place.startswith("/tmp/minifaas-tmp-")
    faas.wait_until(lambda: not os.path.exists(place), 10, "it was removed")


# --- the setting ----------------------------------------------------------------------------------------------------


def test_off_says_so_loudly(start_system):
    system = start_system(FAAS_SANDBOX="off", FAAS_WORKERS=1)
    assert tier(system) == "off"
    assert any("sandbox: OFF" in line for line in system.process.lines)
    assert walls(system) == set()
    assert worker_status(system)["Seccomp"] == "0"
    assert system.deploy("print(len(open('/etc/passwd').read()) > 0)\n", "python").invoke().output == "True\n"


def test_a_mode_that_does_not_exist_is_refused(start_system):
    refuses_to_start(start_system(started=False, FAAS_SANDBOX="on"), "FAAS_SANDBOX 'on' is none of auto, require, off")

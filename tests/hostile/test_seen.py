"""A wall that is missing is seen: probes outside of any sandbox report their escape, and the host counts its effects. They get
mounts and System V memory of their own, so that nothing stays."""

import os
import shutil
import subprocess

import faas
import host
import pytest
import tiers
from probes import PROBES

ROWS = [pytest.param(probe, id=probe.file) for probe in PROBES if probe.seen]
INTERPRETERS = {"python": ("/usr/bin/python3", "python3", "-I"), "js": ("/usr/bin/node", "node")}
# What those leave on the host is counted there, and not seen by themselves.
COUNTED = {"python/udp": "udp", "python/double_fork": "file late", "python/daemon_after_answer": None, "js/daemon_after_answer": None,
           "js/spawn_survivor": None}  # fmt: skip


@pytest.fixture
def bare_host():
    instance = host.Host(None)
    yield instance
    instance.close()


def interpreter(lang):
    path, name, *flags = INTERPRETERS[lang]
    found = path if os.path.exists(path) else shutil.which(name)
    if not found:
        pytest.skip(f"no {name}")
    return [found, *flags]


def run_outside(probe, bare_host, folder):
    """The probe's output, run as many times as it is called."""
    own = ["unshare", "--mount", "--ipc", "--propagation", "private", *(() if os.getuid() == 0 else ("--map-root-user",))]
    if subprocess.run([*own, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace to do this in")
    target = bare_host.target(code=bare_host.secret)
    target["bin"] = str(folder)
    shutil.copy(faas.BIN / "minifaas", folder / "minifaas")
    source, payload = folder / f"probe{probe.path.suffix}", folder / "payload"
    source.write_text(tiers.source_of(probe, target))
    payload.write_bytes(host.payload_of(target))
    script = 'mount -t tmpfs -o size=700m none /tmp && mount -t tmpfs none /dev/shm && cd /tmp && for i in $CALLS; do "$@" <"$PAYLOAD"; done'
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        env = {**os.environ, "FAAS_CANARY": bare_host.canary, "PAYLOAD": str(payload), "CALLS": " ".join("x" * probe.calls)}
        process = subprocess.Popen(
            [*own, "sh", "-c", script, "sh", *interpreter(probe.lang), str(source)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[root], start_new_session=True,
        )  # fmt: skip
        try:
            output = process.communicate(timeout=25)[0].decode(errors="replace")
        finally:
            for proc in faas.descendants(process.pid):
                faas.kill(proc.pid)
    finally:
        os.close(root)
    return output[:20000] + output[-20000:]


@pytest.mark.parametrize("probe", ROWS)
def test_a_missing_wall_is_seen(probe, bare_host, tmp_path_factory):
    if probe.seen == "root" and os.getuid() != 0:
        pytest.skip(f"{probe.file}: only root could do it outside")
    folder = bare_host.folder / "run"
    folder.mkdir()
    output = run_outside(probe, bare_host, folder)
    if probe.file in COUNTED:
        word = COUNTED[probe.file]
        if word:
            assert any(word in effect for effect in bare_host.effects()), output
        else:
            assert bare_host.marked(), output
        return
    assert "ESCAPED" in output, output


def test_the_canary_is_seen(bare_host):
    """What the runner looks for in every answer is there to be found."""
    assert bare_host.canary in bare_host.secret.read_text()
    assert bare_host.canary.encode() in open(f"/proc/{bare_host.victim.pid}/environ", "rb").read()


@pytest.mark.parametrize("name", ["include_secret", "incbin", "has_include"])
def test_a_compiler_outside_shows_the_host(name, bare_host, tmp_path):
    clang = shutil.which("clang")
    if not clang:
        pytest.skip("no clang")
    probe = next(probe for probe in PROBES if probe.file == f"c/{name}")
    source, result = tmp_path / "probe.c", tmp_path / "probe.o"
    source.write_text(tiers.source_of(probe, bare_host.target()))
    run = subprocess.run([clang, "--target=wasm32-wasi", "-c", "-w", "-o", str(result), str(source), *(["-E"] if name == "has_include" else [])],
                         capture_output=True, text=True)  # fmt: skip
    made = result.read_bytes() if result.exists() else b""
    if name == "has_include":
        assert b'"the secret"' in made
    else:
        assert bare_host.canary in run.stderr or bare_host.canary.encode() in made, run.stderr


OFF = ("python/read_host_files", "python/parent_environment", "python/kill_host", "python/ptrace", "python/io_uring", "python/tcp_host", "python/unix_sockets",
       "python/socket_families", "python/network_interfaces", "js/read_host_files", "js/parent_environment", "js/kill_host", "js/network")  # fmt: skip


@pytest.fixture(scope="module")
def open_tier():
    """The product itself, with its sandbox switched off."""
    instance = tiers.Tier("root" if os.getuid() == 0 else "user", FAAS_SANDBOX="off")
    try:
        yield instance.start([probe for probe in PROBES if probe.file in (*OFF, "python/udp")])
    finally:
        instance.host.effects = list
        instance.close()


@pytest.mark.xdist_group("user")
@pytest.mark.parametrize("file", OFF)
def test_a_sandbox_that_is_off_is_seen(open_tier, file):
    function = faas.Function(open_tier.system, open_tier.deploys[file].result())
    answer = function.invoke(host.payload_of(open_tier.target))
    assert "ESCAPED" in answer.text, answer


@pytest.mark.xdist_group("user")
def test_a_packet_of_a_function_is_counted(open_tier):
    open_tier.host.effects()
    function = faas.Function(open_tier.system, open_tier.deploys["python/udp"].result())
    before = open_tier.host.listeners["udp"].arrived()
    assert "end" in function.invoke(host.payload_of(open_tier.target)).output
    assert open_tier.host.listeners["udp"].arrived() > before

"""A machine without one of the compilers or interpreters: that language answers 501, the rest works."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import faas

PROGRAMS = {
    # what is missing: names of its programs, a source in its language, languages that must work without it
    "node": (["node", "nodejs"], "js", "js/hello.js", ["python", "c"]),
    "rustc": (["rustc"], "rust", "rust/hello.rs", ["python", "js", "c"]),
    "clang": (["clang", "clang-14", "clang-19"], "c", "c/hello.c", ["python", "js"]),
    "python": (["python3", "python", "python3.11", "python3.12", "python3.13"], "python", "python/hello.py", ["js", "c"]),
}
SAMPLES = {"python": "python/hello.py", "js": "js/hello.js", "c": "c/hello.c"}


def mount_namespace():
    """The beginning of a command line that may mount, or a reason to skip."""
    command = ["unshare", "--mount", "--propagation", "private"]
    if os.getuid() != 0:
        command = ["unshare", "--user", "--map-root-user", *command[1:]]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets us make no mount namespace")
    return command


def hide(names):
    """A prefix of a command line that runs it where /dev/null is mounted over those programs."""
    places = {os.path.realpath(f"{folder}/{name}") for folder in ("/usr/bin", "/usr/local/bin", "/bin") for name in names}
    script = "".join(f"mount --bind /dev/null {place}; " for place in sorted(places) if os.path.isfile(place))
    return [*mount_namespace(), "sh", "-ec", script + 'exec "$@"', "sh"]


@pytest.mark.parametrize("missing", PROGRAMS)
def test_missing_program_is_501_and_the_rest_works(start_system, missing, tmp_path):
    names, lang, path, others = PROGRAMS[missing]
    system = start_system(prefix=hide(names), PATH="/usr/bin:/bin", HOME=tmp_path, XDG_CACHE_HOME=tmp_path / "cache",
                          CARGO_HOME=None, RUSTUP_HOME=None)  # fmt: skip
    answer = system.try_deploy((faas.EXAMPLES / path).read_bytes(), lang)
    error = answer.assert_error(501, "not_installed")["error"]
    assert "install" in error, error
    assert system.request("GET", "/readyz").status == 200
    for other in others:
        assert system.deploy(Path(SAMPLES[other]), other).invoke().status == 200, other


def test_function_whose_interpreter_went_away(start_system, tmp_path):
    system = start_system()
    function = system.deploy(Path("js/hello.js"), "js")
    assert function.invoke().status == 200
    system.stop()
    system.prefix, system.env["PATH"] = hide(PROGRAMS["node"][0]), "/usr/bin:/bin"
    system.start()
    function.invoke().assert_error(501, "not_installed")


def test_python_of_a_version_manager_is_not_used(start_system, tmp_path):
    """A shim in PATH that cannot be seen from the sandbox must not win over /usr/bin."""
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("python3", "python", "node", "clang"):
        (shims / name).write_text("#!/bin/sh\necho shim >&2\nexit 1\n")
        (shims / name).chmod(0o755)
    os.chmod(tmp_path, 0o700)
    system = start_system(PATH=f"{shims}:{os.environ['PATH']}")
    for lang, path in SAMPLES.items():
        assert system.deploy(Path(path), lang).invoke().status == 200

"""What survives from one call to the next, and what a function can see of the rest of the machine."""

import json
import os
import time
from pathlib import Path

import pytest

import faas


# --- fresh or kept --------------------------------------------------------------------------------------------------


def test_c_globals_are_fresh_in_every_call(system):
    source = "#include <stdio.h>\nstatic volatile int calls = 0, kept[70000];\nint main(void) { calls++;\n" \
             "  for (int i = 0; i < 70000; i++) if (kept[i]++) calls += 1000;\n" \
             '  printf("%d", calls); return 0; }\n'  # fmt: skip
    function = system.deploy(source, "c")
    assert {function.invoke().output for _ in range(50)} == {"1"}


def test_rust_statics_are_fresh_in_every_call(system):
    source = "use std::sync::atomic::{AtomicU32, Ordering};\nstatic CALLS: AtomicU32 = AtomicU32::new(0);\n" \
             'fn main() { print!("{}", CALLS.fetch_add(1, Ordering::SeqCst) + 1); }\n'  # fmt: skip
    function = system.deploy(source, "rust")
    assert {function.invoke().output for _ in range(20)} == {"1"}


COUNTERS = {
    "py-handler": ("python", "calls = 0\ndef handler(e, c):\n    global calls\n    calls += 1\n    return calls\n"),
    "py-wsgi": ("python", "calls = 0\ndef app(environ, start_response):\n    global calls\n    calls += 1\n"
                          "    start_response('200 OK', [])\n    return [str(calls).encode()]\n"),
    "js-handler": ("js", "let calls = 0;\nexports.handler = async () => ++calls;\n"),
    "js-fetch": ("js", "let calls = 0;\nexport default { fetch: () => new Response(String(++calls)) };\n"),
}  # fmt: skip


@pytest.mark.parametrize("lang, source", list(COUNTERS.values()), ids=list(COUNTERS))
def test_handlers_keep_their_globals(system, lang, source):
    function = system.deploy(source, lang, concurrency=1)
    assert [function.invoke().output for _ in range(20)] == [str(i) for i in range(1, 21)]


SCRIPTS = {
    "python": "import os, sys\nsys.modules.setdefault('mark', sys)\nprint(os.getpid(), os.path.exists('/tmp/mark'))\n"
              "open('/tmp/mark', 'w').close()\n",
    "js": "const fs = require('fs');\nconsole.log(process.pid, fs.existsSync('/tmp/mark'));\n"
          "fs.writeFileSync('/tmp/mark', '');\n",
}  # fmt: skip


@pytest.mark.parametrize("lang", SCRIPTS)
def test_two_calls_of_a_script_never_share_a_process(system, lang):
    function = system.deploy(SCRIPTS[lang], lang)
    pids = []
    for _ in range(50):
        pid, marked = function.invoke().output.split()
        assert marked.lower() == "false", "a file of an earlier call is still there"
        pids.append(pid)
    assert len(set(pids)) == 50


def test_concurrent_calls_of_a_script_never_share_a_process(system):
    function = system.deploy(SCRIPTS["python"], "python")
    pids = [answer.output.split()[0] for answer in faas.parallel(12, lambda i: function.invoke())]
    assert len(set(pids)) == 12


def test_first_line_of_a_script_runs_when_the_payload_is_there(system):
    source = "import time\nSTART = time.time()\nimport sys\nprint(sys.stdin.read(), START)\n"
    function = system.deploy(source, "python")
    for _ in range(5):
        before = time.time()
        text, start = function.invoke("payload").output.split()
        assert text == "payload" and float(start) >= before - 0.05


def test_versions_do_not_share_a_process(system):
    source = "import os\nkept = []\ndef handler(e, c):\n    kept.append(1)\n    return len(kept)\n"
    function = system.deploy(source, "python")
    assert function.invoke().output == "1"
    system.try_deploy(source, "python", function.name, "PUT")
    assert function.invoke().output == "1"


# --- walls ----------------------------------------------------------------------------------------------------------

LOOK_PY = r"""
import os, socket
def attempt(act):
    try:
        return repr(act())
    except BaseException as error:
        return "refused: " + type(error).__name__
def read(path):
    return attempt(lambda: open(path, "rb").read(4000))
def handler(event, context):
    def connect():
        with socket.create_connection((event["host"], event["port"]), 2) as s:
            return "connected"
    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("192.0.2.1", 53)); s.send(b"x"); return "sent"
    environs = [read(f"/proc/{pid}/environ") for pid in os.listdir("/proc") if pid.isdigit()] if os.path.isdir("/proc") else []
    return {
        "files": {path: read(path) for path in event["paths"]},
        "lists": {path: attempt(lambda: os.listdir(path)) for path in event["dirs"]},
        "write": {path: attempt(lambda: open(path, "w").write("x")) for path in event["writes"]},
        "connect": attempt(connect), "udp": attempt(udp),
        "environ": dict(os.environ), "environs": environs, "uid": os.getuid(),
        "tmp": attempt(lambda: open("/tmp/mine", "w").write("x")),
        "descriptors": sorted(os.listdir("/proc/self/fd"), key=int) if os.path.isdir("/proc/self/fd") else [],
    }
"""

LOOK_JS = r"""
const fs = require('fs'), net = require('net');
const attempt = (act) => { try { return String(act()); } catch (error) { return 'refused: ' + error.code; } };
const read = (path) => attempt(() => fs.readFileSync(path, 'latin1'));
exports.handler = async (event) => ({
  files: Object.fromEntries(event.paths.map((path) => [path, read(path)])),
  lists: Object.fromEntries(event.dirs.map((path) => [path, attempt(() => JSON.stringify(fs.readdirSync(path)))])),
  write: Object.fromEntries(event.writes.map((path) => [path, attempt(() => fs.writeFileSync(path, 'x'))])),
  connect: await new Promise((done) => net.connect(event.port, event.host, () => done('connected'))
    .on('error', (error) => done('refused: ' + error.code))),
  udp: 'refused', environ: process.env, environs: [read('/proc/self/environ'), read('/proc/1/environ')],
  uid: process.getuid(), tmp: attempt(() => fs.writeFileSync('/tmp/mine', 'x')),
});
"""


@pytest.fixture(scope="module")
def private_system():
    os.environ["HOST_SECRET"] = "s3cr3t-of-the-host"
    instance = faas.System()
    try:
        yield instance.start()
        instance.stop()
    finally:
        del os.environ["HOST_SECRET"]
        instance.remove()


@pytest.mark.parametrize("lang, source", [("python", LOOK_PY), ("js", LOOK_JS)], ids=["python", "js"])
def test_function_sees_nothing_of_the_host(private_system, lang, source):
    system = private_system
    victim = system.deploy("# s3cr3t-of-another\nprint('x')\n", "python")
    victim.invoke()
    function = system.deploy(source, lang)
    code = next(system.data_dir.glob(f"{victim.id}/code.py"))
    paths = ["/etc/passwd", "/etc/shadow", str(code), str(system.home / "minifaas.conf"), str(faas.BIN / "minifaas"),
             str(faas.ROOT / "README.md"), "/proc/sys/kernel/core_pattern_missing"]  # fmt: skip
    dirs = [str(system.data_dir), str(system.run_dir), str(faas.ROOT), "/root", "/home", "/var", "/sys/fs/cgroup"]
    writes = ["/x", "/etc/x", "/usr/x", "/dev/x", "/proc/sys/kernel/hostname", str(system.home / "x")]
    event = {"paths": paths, "dirs": dirs, "writes": writes, "host": system.address[0], "port": system.address[1]}
    seen = json.loads(function.invoke(json.dumps(event)).output)
    for path, what in {**seen["files"], **seen["write"]}.items():
        assert what.startswith("refused"), (path, what)
    for path, what in seen["lists"].items():
        assert what.startswith("refused") or what in ("[]", "''"), (path, what)
    assert seen["connect"].startswith("refused") and seen["udp"].startswith("refused"), seen
    assert "HOST_SECRET" not in seen["environ"] and "s3cr3t" not in json.dumps(seen)
    assert not [key for key in seen["environ"] if key in ("FAAS_LISTEN", "FAAS_DATA_DIR", "FAAS_RUN_DIR", "HOME_DIR")]
    assert seen["tmp"] in ("1", "undefined"), seen["tmp"]


def test_c_function_has_no_files_and_no_host_environment(private_system):
    source = r"""
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
int main(void) {
    const char *paths[] = {"/etc/passwd", "/", ".", "/tmp/x", "/proc/self/environ"};
    for (int i = 0; i < 5; i++) {
        int fd = open(paths[i], O_RDONLY);
        printf("%s %s\n", paths[i], fd < 0 ? "refused" : "open");
    }
    printf("/ %s\n", opendir("/") ? "open" : "refused");
    for (int fd = 3; fd < 64; fd++)
        if (write(fd, "x", 1) == 1) printf("descriptor %d open\n", fd);
    for (char **e = environ; *e; e++) printf("%s\n", *e);
    return 0;
}
"""
    output = private_system.deploy(source, "c").invoke().output
    assert "open" not in output and output.count("refused") == 6, output
    assert "s3cr3t" not in output and "PATH=" not in output.replace("_PATH=", ""), output


def test_environment_of_a_c_call(system):
    source = "#include <stdio.h>\nextern char **environ;\nint main(void) { for (char **e = environ; *e; e++) puts(*e); }\n"
    function = system.shared(source, "c")
    answer = function.invoke(headers={"X-Call-Id": "call-77"})
    values = dict(line.split("=", 1) for line in answer.output.splitlines())
    assert values["FAAS_FUNCTION"] == function.name and values["FAAS_VERSION"] == "1"
    assert values["FAAS_CALL_ID"] == "call-77"
    assert 0 < int(values["FAAS_DEADLINE_MS"]) - time.time() * 1000 <= 10000
    assert "REQUEST_METHOD" not in values


@pytest.mark.parametrize("lang, source", [
    ("python", "import os\nprint(os.environ['FAAS_FUNCTION'], os.environ['FAAS_CALL_ID'], os.environ['FAAS_VERSION'])"),
    ("js", "const e = process.env;\nconsole.log(e.FAAS_FUNCTION, e.FAAS_CALL_ID, e.FAAS_VERSION)"),
])  # fmt: skip
def test_environment_of_a_script(system, lang, source):
    function = system.deploy(source + "\n", lang)
    assert function.invoke(headers={"X-Call-Id": "call-78"}).output == f"{function.name} call-78 1\n"


def test_stderr_and_prints_of_a_handler_are_not_its_output(system):
    function = system.shared(
        "import sys\ndef handler(e, c):\n    print('noise')\n    print('noise', file=sys.stderr)\n    return 'value'\n",
        "python",
    )
    assert function.invoke().output == '"value"'
    function = system.shared("exports.handler = async () => { console.log('noise'); return 'value'; };\n", "js")
    assert function.invoke().output == '"value"'
    source = '#include <stdio.h>\nint main(void) { fprintf(stderr, "noise\\n"); printf("value"); return 0; }\n'
    assert system.shared(source, "c").invoke().output == "value"


def test_processes_have_their_names(system):
    system.shared(Path("python/hello.py"), "python").invoke()
    system.shared(Path("js/hello.js"), "js").invoke()
    known = {*faas.PLATFORM, *faas.WORKERS, "builder"}

    def strangers():  # a program that was just started has its own name until it has booted
        return [p for p in system.procs() if p.comm not in known and not p.comm.startswith("spare-")]

    faas.wait_until(lambda: not strangers(), 5, lambda: f"names of the contract: {strangers()}")
    assert {*faas.PLATFORM, *faas.WORKERS} <= {proc.comm for proc in system.procs()}

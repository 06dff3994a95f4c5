"""Starting and stopping: ready lines, settings, what is refused, what is left."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import faas

HELLO_PY = "def handler(event, context):\n    return 'hi'\n"


def ended(process, timeout_s=10):
    """Exit code and text of a program that is expected to end by itself."""
    return process.wait(timeout_s), process.text()


# --- ready lines ----------------------------------------------------------------------------------------------------


def test_ready_lines_are_exactly_the_contracts(start_system):
    system = start_system(FAAS_WORKERS=3, FAAS_WORKERS_MAX=3)
    run, workers = re.escape(str(system.run_dir)), system.pids("worker")
    assert len(workers) == 3
    fixed = [
        rf"load_balancer: listening on {run}/faas_lb\.sock \(RR strategy\)",
        r"load_balancer: waiting for worker registrations from server\.\.\.",
        rf"server: listening on {run}/faas_server\.sock",
        r"server: pre-forking 3 workers\.\.\.",
        r"server: 3 workers ready, forwarding requests to load balancer",
        r"api_gateway listening on 127\.0\.0\.1:\d+",
    ]
    for pattern in fixed:
        system.process.wait_line(pattern, 3)
    for number in range(3):
        pids = {
            system.process.wait_line(pattern, 3)[1]
            for pattern in (rf"lb: registered worker {number} \(pid (\d+)\)",
                            rf"server: created worker {number} \(pid (\d+)\)")
        }  # fmt: skip
        assert len(pids) == 1 and int(pids.pop()) in workers
        system.process.wait_line(rf"server: registered worker {number} with load balancer", 3)


def test_logs_are_the_same_lines(start_system):
    system = start_system(FAAS_WORKERS=1, FAAS_WORKERS_MAX=1)
    for name, pattern in (("load_balancer.log", r"lb: registered worker 0 \(pid \d+\)"),
                          ("server.log", r"server: 1 workers? ready, forwarding requests to load balancer"),
                          ("api_gateway.log", r"api_gateway listening on 127\.0\.0\.1:\d+")):  # fmt: skip
        faas.wait_until(lambda: re.search(pattern, (system.log_dir / name).read_text()), 5 * faas.PATIENCE, pattern)


@pytest.mark.parametrize("strategy", ["FIFO", "WEIGHTED"])
def test_strategy_in_the_ready_line(start_system, strategy):
    system = start_system(FAAS_STRATEGY=strategy, FAAS_WORKERS=1)
    assert system.process.match(rf"load_balancer: listening on .*faas_lb\.sock \({strategy} strategy\)")


def test_ready_line_means_that_calls_are_served(start_system):
    system = start_system(started=False)
    first = system.start()
    first.deploy(HELLO_PY, "python", "kept")
    first.stop()
    system.launch()
    system.find_address(system.process)
    assert system.request("POST", "/invoke?fn=kept").output == '"hi"'


# --- time -----------------------------------------------------------------------------------------------------------


def test_second_start_is_ready_within_a_second(start_system):
    system = start_system()
    function = system.deploy(Path("c/hello.c"), "c")
    times = []
    for _ in range(3):
        system.stop()
        begun = time.monotonic()
        system.start()
        assert system.request("POST", f"/invoke?fn={function.name}").output == "Hello from FAAS!\n"
        times.append(time.monotonic() - begun)
    print("start to first answer, s:", times)
    assert min(times) < 1.0 * faas.PATIENCE, times


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stop_leaves_nothing(start_system, signum):
    shared_memory = set(os.listdir("/dev/shm"))
    system = start_system()
    for lang, path in (("c", "c/hello.c"), ("python", "python/hello.py"), ("js", "js/hello.js")):
        assert system.deploy(Path(path), lang).invoke().status == 200
    pids = system.pids()
    assert len(pids) >= 4 + 4
    begun = time.monotonic()
    system.process.signal(signum)
    assert system.process.wait(10) == 0
    took = time.monotonic() - begun
    print("signal to gone, s:", took)
    assert took < 2 * faas.PATIENCE
    system.stop()
    assert not [p for pid in pids if (p := faas.read_proc(pid)) and p.state not in "ZX"]
    assert not set(os.listdir("/dev/shm")) - shared_memory
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(system.address, 1)


def test_interrupt_of_the_whole_foreground_group_stops_cleanly(start_system):
    """Ctrl+C goes to every process of the terminal's foreground group at once."""
    system = start_system()
    os.killpg(system.pid, signal.SIGINT)
    assert system.process.wait(10) == 0
    system.stop()


def test_calls_in_flight_finish_when_it_stops(start_system):
    system = start_system()
    source = "import time\ndef handler(e, c):\n    time.sleep(0.8)\n    return 'finished'\n"
    function = system.deploy(source, "python")
    function.invoke()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function.invoke()))
    thread.start()
    faas.wait_until(lambda: busy(system, function), 5, "running")
    system.process.signal(signal.SIGTERM)
    thread.join(10)
    assert answers and answers[0].output == '"finished"'
    assert system.process.wait(10) == 0


def busy(system, function):
    """A call of the function is on its way: begun, not counted as answered. There is no gauge for it: its connection
    to the gateway is established."""
    port = "%04X" % system.address[1]
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[1].endswith(":" + port) and fields[3] == "01" for fields in map(str.split, lines))


# --- as people start it -----------------------------------------------------------------------------------------------

needs_own_build = pytest.mark.skipif(faas.BIN != faas.ROOT / "build" / "bin", reason="is about the tree's own build")


@needs_own_build
def test_start_all_becomes_the_supervisor(start_system):
    """A second run builds and installs nothing, and is ready in under a second."""
    system = start_system(started=False)
    times, before = [], None
    for round_number in range(4):
        begun = time.monotonic()
        env = faas.clean_env(**{**system.env, "FAAS_STRATEGY": None})
        system.process = faas.Process([faas.ROOT / "scripts" / "start_all.sh", "FIFO"], env, system.home)
        system.find_address(system.process, 15 if round_number else 300)
        system.wait_ready()
        times.append(time.monotonic() - begun)
        assert faas.read_proc(system.pid).comm == "minifaas"
        assert system.process.match(r"load_balancer: listening on .*\(FIFO strategy\)")
        assert system.deploy(HELLO_PY, "python").invoke().status == 200
        system.stop()
        before = before or {path: path.stat().st_mtime for path in faas.BIN.iterdir()}
    assert min(times[1:]) < 1.0, times
    assert {path: path.stat().st_mtime for path in faas.BIN.iterdir()} == before


@needs_own_build
def test_installed_elsewhere_it_runs_without_the_tree(start_system, tmp_path):
    made = subprocess.run(["make", "-C", faas.ROOT, "install", "PREFIX=/usr", f"DESTDIR={tmp_path}"],
                          capture_output=True, text=True, env=faas.clean_env(MAKEFLAGS=None))  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert (tmp_path / "usr/bin/minifaas-load").exists() and (tmp_path / "usr/libexec/minifaas/worker").exists()
    system = start_system(bin_dir=tmp_path / "usr" / "bin")
    for lang, path in (("c", "c/hello.c"), ("python", "python/hello.py"), ("js", "js/hello.js")):
        assert system.deploy(Path(path), lang).invoke().status == 200
    load = subprocess.run([tmp_path / "usr/bin/minifaas-load", system.deploy(Path("c/hello.c"), "c").name, "2", "10"],
                          env=faas.clean_env(FAAS_URL=system.url), capture_output=True)  # fmt: skip
    assert load.returncode == 0, load.stdout


# --- settings -------------------------------------------------------------------------------------------------------


def workers_of(system):
    return int(system.process.wait_line(r"server: (\d+) workers? ready, forwarding requests to load balancer")[1])


def test_flag_beats_environment_beats_file_beats_default(start_system, tmp_path):
    config = tmp_path / "my.conf"
    config.write_text("# comment\nworkers = 1\nstrategy = FIFO\n")
    system = start_system(FAAS_CONFIG=config)
    assert workers_of(system) == 1 and system.process.match(r"load_balancer: .*\(FIFO strategy\)")
    system = start_system(FAAS_CONFIG=config, FAAS_WORKERS=2)
    assert workers_of(system) == 2 and system.process.match(r"load_balancer: .*\(FIFO strategy\)")
    system = start_system(FAAS_CONFIG=config, FAAS_WORKERS=2, args=["--workers", "3", "--strategy=RR"])
    assert workers_of(system) == 3 and system.process.match(r"load_balancer: .*\(RR strategy\)")
    assert workers_of(start_system()) == 4


def test_flags_for_everything(start_system, tmp_path):
    places = {name: tmp_path / name for name in ("d", "r", "l")}
    places["r"].mkdir()
    args = ["--listen", "127.0.0.1:0", "--data-dir", places["d"], "--run-dir", places["r"], "--log-dir", places["l"],
            "--workers", "1", "--workers-max", "1", "--strategy", "WEIGHTED", "--queue-ms", "100", "--builds", "1"]  # fmt: skip
    system = start_system(args=args)
    system.deploy(HELLO_PY, "python", "x")
    assert list(places["d"].glob("x_*/metadata.json")) and not system.data_dir.exists()
    assert (places["r"] / "faas_lb.sock").is_socket() and (places["r"] / "faas_server.sock").is_socket()
    assert (places["l"] / "server.log").exists()


def test_default_directories_are_those_of_the_working_directory(start_system):
    system = start_system(FAAS_DATA_DIR=None, FAAS_LOG_DIR=None)
    system.deploy(HELLO_PY, "python", "x")
    assert list((system.home / "functions").glob("x_*/code.py"))
    assert (system.home / "logs" / "api_gateway.log").exists()


@pytest.mark.parametrize("args, env, config, word", [
    (["--workers", "0"], {}, "", "workers"),
    (["--workers", "abc"], {}, "", "workers"),
    (["--strategy", "RANDOM"], {}, "", "RANDOM"),
    (["--no-such-flag"], {}, "", "no-such-flag"),
    ([], {"FAAS_WORKERS": "many"}, "", "many"),
    ([], {"FAAS_LISTEN": "nonsense"}, "", "nonsense"),
    ([], {"FAAS_CONFIG": "/no/such/file"}, "", "/no/such/file"),
    ([], {}, "no_such_key = 1\n", "no_such_key"),
    ([], {}, "workers = 9999999\n", "workers"),
])  # fmt: skip
def test_wrong_setting_is_named(start_system, args, env, config, word):
    system = start_system(started=False, args=args, **env)
    if config:
        (system.home / "minifaas.conf").write_text(config)
    code, text = ended(system.launch().process)
    system.process = None
    assert code not in (0, None) and word in text, text
    assert "\n" in text or len(text.splitlines()) < 5, text


# --- what is refused ------------------------------------------------------------------------------------------------


def test_port_in_use_is_a_clear_error(start_system):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        system = start_system(started=False, FAAS_LISTEN=f"127.0.0.1:{port}")
        code, text = ended(system.launch().process)
        system.process = None
        assert code != 0 and str(port) in text and "in use" in text, text
    assert not faas.orphans()


def test_run_directory_of_a_living_instance_is_refused(start_system):
    first = start_system()
    second = start_system(started=False, FAAS_RUN_DIR=first.run_dir)
    code, text = ended(second.launch().process)
    second.process = None
    assert code != 0 and str(first.run_dir) in text, text
    assert first.request("GET", "/readyz").status == 200
    assert (first.run_dir / "faas_lb.sock").is_socket() and (first.run_dir / "faas_server.sock").is_socket()


def test_sockets_are_private(start_system):
    system = start_system()
    for name in ("faas_lb.sock", "faas_server.sock"):
        assert (system.run_dir / name).stat().st_mode & 0o777 == 0o600


def test_data_directory_that_cannot_be_made_is_a_clear_error(start_system, tmp_path):
    (tmp_path / "file").write_text("")
    system = start_system(started=False, FAAS_DATA_DIR=tmp_path / "file" / "data")
    process = system.launch().process
    faas.wait_until(lambda: str(tmp_path / "file" / "data") in process.text(), 10, "the directory named")
    if process.popen.poll() is None:
        process.kill_tree()
    system.process = None
    assert not faas.orphans()


def test_two_instances_side_by_side(start_system):
    one, two = start_system(), start_system()
    one.deploy("print('one')\n", "python", "same")
    two.deploy("print('two')\n", "python", "same")
    assert one.request("POST", "/invoke?fn=same").output == "one\n"
    assert two.request("POST", "/invoke?fn=same").output == "two\n"
    one.stop()
    assert two.request("POST", "/invoke?fn=same").output == "two\n"


# --- an ordinary user -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_instance_of_an_ordinary_user(start_system, tmp_path_factory):
    """Nothing of root's: copied executables, an empty home, /root hidden, no supplementary group."""
    place = Path(subprocess.check_output(["mktemp", "-d", "/tmp/faas-user.XXXXXX"], text=True).strip())
    try:
        shutil.copytree(faas.BIN, place / "bin", symlinks=True)
        home = place / "home"
        home.mkdir()
        os.chmod(place, 0o755)
        os.chown(home, 1000, 1000)
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                  'mount -t tmpfs -o mode=700 none /root && exec setpriv --reuid=1000 --regid=1000 --clear-groups "$@"',
                  "sh", "env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", f"HOME={home}"]  # fmt: skip
        instance = faas.System(prefix=prefix, bin_dir=place / "bin", owner=1000)
        instance.prefix += [f"{key}={value}" for key, value in instance.env.items()]
        try:
            instance.start(30)
            assert {os.stat(f"/proc/{pid}").st_uid for pid in instance.pids(*faas.PLATFORM)} == {1000}
            for lang, path, output in (
                ("c", "c/hello.c", "Hello from FAAS!\n"), ("cpp", "cpp/hello.cpp", "Hello from C++!\n"),
                ("js", "js/hello.js", "Hello from JavaScript!\n"), ("js", "js/hello_script.js", "Hello from JavaScript!\n"),
                ("python", "python/hello.py", '{"message": "Hello from Python!"}'),
                ("python", "python/hello_script.py", "Hello from Python!\n"),
            ):  # fmt: skip
                got = instance.deploy(Path(path), lang).invoke().output
                assert got.replace(" ", "") == output.replace(" ", ""), (path, got)
            memory = instance.deploy("def handler(e, c):\n    a = []\n    while 1: a.append(bytearray(b'1' * 2**22))\n",
                                     "python", memory_mb=64)  # fmt: skip
            memory.invoke().assert_error(507, "oom")
            loop = instance.deploy("while True: pass\n", "python", timeout_ms=300)
            loop.invoke().assert_error(504, "timeout")
            look = instance.deploy("print(open('/etc/passwd').read())\n", "python")
            look.invoke().assert_error(500)
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
                connects = f"import socket\nsocket.create_connection(('127.0.0.1', {port})).close()\nprint('reached')\n"
                listed = instance.deploy(connects, "python", allow=f"127.0.0.1:{port}")
                assert listed.invoke().output == "reached\n"
                instance.deploy(connects, "python", allow="127.0.0.1:1").invoke().assert_error(500)
            instance.stop()
        finally:
            print(instance.tail())
            instance.remove()
    finally:
        shutil.rmtree(place, ignore_errors=True)

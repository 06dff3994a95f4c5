"""Secrets of a function: it sees them as variables, and they are nowhere else: on no disk, in no answer, log, argument
list or environment of a process, and lost with the key."""

import base64
import json
import os
import random
import secrets
import subprocess
import threading
from pathlib import Path

import pytest

import faas
import vars

ALL = sorted(vars.SHOW)


@pytest.fixture
def function(system):
    return system.deploy(*reversed(vars.SHOW["py-handler"]), name=faas.unique_name("secret"))


def forms(value):
    """The secret's bytes as they are, and as what usual encodings make of them."""
    value = value if isinstance(value, bytes) else value.encode()
    middle = base64.b64encode(value)[4:-4]  # whatever stands before it
    return [value, value.hex().encode(), middle, base64.b64encode(b"x" + value)[4:-4], base64.b64encode(b"xx" + value)[4:-4]]


def files_with(root, needles):
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            try:
                data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            except OSError:
                continue
            found += [str(path)] * any(needle in data for needle in needles)
    return found


def procs_with(root_pid, needles, files=("environ", "cmdline", "comm", "status")):
    found = []
    for proc in faas.descendants(root_pid):
        for file in files:
            try:
                data = Path(f"/proc/{proc.pid}/{file}").read_bytes()
            except OSError:
                continue
            found += [f"{proc} {file}"] * any(needle in data for needle in needles)
    return found


# --- seen by the function ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_function_sees_it_as_a_variable(system, kind):
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    assert vars.show(function, "TOKEN") == "-"
    for value in ("first", "zweites = \u00fc", "x" * 32768, ""):
        vars.set_secret(function, "TOKEN", value)
        assert vars.show(function, "TOKEN") == value
    assert vars.remove(function, "secrets/TOKEN").status == 204
    assert vars.show(function, "TOKEN") == "-"


def test_bytes_that_are_no_text(system):
    source = "import os, sys\nsys.stdout.buffer.write(os.environb[sys.stdin.buffer.read()])\n"
    value = bytes(range(1, 256))
    function = system.deploy(source, "python")
    vars.set_secret(function, "RAW", value)
    answer = function.invoke("RAW").json
    assert answer["encoding"] == "base64" and base64.b64decode(answer["output"]) == value
    c = system.deploy(vars.C, "c")
    vars.set_secret(c, "RAW", value)
    assert c.http("POST", "/", "RAW").body == value


def test_beside_the_environment(system, function):
    vars.set_env(function, PLAIN="1")
    vars.set_secret(function, "TOKEN", "two")
    vars.set_secret(function, "OTHER", "three")
    assert vars.get_env(function) == {"PLAIN": "1"} and vars.get_secrets(function) == ["OTHER", "TOKEN"]
    assert [vars.show(function, n) for n in ("PLAIN", "TOKEN", "OTHER")] == ["1", "two", "three"]
    # one name, one kind
    vars.put(function, "secrets/PLAIN", "x").assert_error(409, "conflict", "PLAIN", "environment")
    vars.put(function, "env/TOKEN", "x").assert_error(409, "conflict", "TOKEN", "secret")
    vars.put_env(function, {"TOKEN": "x"}).assert_error(409, "conflict", "TOKEN")
    # neither is the other's to remove
    vars.remove(function, "env/TOKEN").assert_error(404, "not_found")
    vars.remove(function, "secrets/PLAIN").assert_error(404, "not_found")
    assert vars.remove(function, "env").status == 204
    assert vars.get_secrets(function) == ["OTHER", "TOKEN"] and vars.show(function, "TOKEN") == "two"
    assert vars.remove(function, "secrets").status == 204
    assert vars.get_secrets(function) == [] and vars.show(function, "TOKEN") == "-"


@pytest.mark.parametrize("kind", ["c", "js-handler", "py-handler"])
def test_later_versions_have_it_and_another_function_not(system, kind):
    lang, source = vars.SHOW[kind]
    function, other = system.deploy(source, lang), system.deploy(source, lang)
    vars.set_secret(function, "TOKEN", "mine")
    second = system.deploy(source, lang, name=function.name, method="PUT")
    assert vars.show(second, "TOKEN") == "mine"
    assert vars.show(other, "TOKEN") == "-" and vars.get_secrets(other) == []


def test_removed_with_the_function(system):
    lang, source = vars.SHOW["c"]
    function = system.deploy(source, lang)
    vars.set_secret(function, "TOKEN", "mine")
    assert function.delete().status == 204
    assert not (system.data_dir / "vars" / f"{function.name}.json").exists()
    again = system.deploy(source, lang, name=function.name)
    assert vars.show(again, "TOKEN") == "-" and vars.get_secrets(again) == []


def test_who_may_set_and_see_them_when_keys_are_asked_for(start_system):
    system = start_system()

    def key(*options):
        argv = [faas.BIN / "minifaas", "key", "create", *options]
        done = subprocess.run(argv, env=faas.clean_env(**system.env), capture_output=True, text=True, check=True)
        return done.stdout.split()[-1]

    system.token = admin = key("--scope", "admin")
    function, other = system.deploy(vars.C, "c"), system.deploy(vars.C, "c")
    vars.set_secret(function, "TOKEN", "value")
    deploy, invoke, read = (key("--scope", scope) for scope in ("deploy", "invoke", "read"))
    bound = key("--scope", "deploy,read", "--function", function.name)
    for token, may_set, may_see in ((deploy, 200, 403), (invoke, 403, 403), (read, 403, 200), (admin, 200, 200),
                                    ("", 401, 401), (bound, 200, 200)):  # fmt: skip
        system.token = token
        assert vars.put(function, "secrets/NEW", "x").status == may_set, token
        assert vars.put(function, "env/NEW_ENV", "x").status == may_set, token
        for rest in ("env", "secrets"):
            assert system.request("GET", vars.path(function, rest)).status == may_see, token
        assert vars.remove(function, "secrets/NEW").status == (204 if may_set == 200 else may_set)
    system.token = bound
    vars.put(other, "secrets/NEW", "x").assert_error(403, "forbidden")
    assert system.request("GET", vars.path(other, "env")).status == 403


def test_bounds(system, function):
    vars.put(function, "secrets/TOKEN", "x" * 32769).assert_error(400, "bad_request", "TOKEN", "32768")
    vars.put(function, "secrets/TOKEN", b"a\0b").assert_error(400, "bad_request", "NUL")
    for i in range(64):
        vars.set_secret(function, f"S{i}", "x" * 10)
    vars.put(function, "secrets/ONE_MORE", "x").assert_error(400, "bad_request", "64")
    vars.remove(function, "secrets")
    for i in range(3):
        vars.set_secret(function, f"S{i}", "x" * 32768)
    vars.put(function, "secrets/S3", "x" * 32768).assert_error(400, "bad_request", "131072")


# --- and nowhere else -------------------------------------------------------------------------------------------------


def test_shown_by_no_route(system):
    value = "hush-" + secrets.token_hex(16)
    function = system.deploy(vars.SHOW["js-handler"][1], "js")
    answers = [vars.set_secret(function, "TOKEN", value), vars.put(function, "secrets/1", value),
               vars.put(function, "secrets/FAAS_X", value), vars.put(function, "secrets/TOKEN/x", value),
               vars.put(function, "env/TOKEN", "x"),
               system.request("PUT", "/function/nobody/secrets/TOKEN", value)]  # fmt: skip
    for path in ("/functions", "/workers", "/metrics", f"/function/{function.name}", vars.path(function, "env"),
                 vars.path(function, "secrets"), vars.path(function, "secrets/TOKEN")):  # fmt: skip
        answers += [system.request(method, path) for method in ("GET", "HEAD", "OPTIONS", "PATCH", "POST")]
    answers.append(system.try_deploy("exports.handler = async () => { throw new Error('x'); };\n", "js",
                                     name=function.name, method="PUT"))  # fmt: skip
    answers.append(function.invoke("x"))
    for answer in answers:
        text = answer.body + repr(answer.headers).encode()
        assert not any(form in text for form in forms(value)), answer


def test_on_no_disk_in_no_log_and_of_no_process(start_system):
    system = start_system()
    value = "hush-" + secrets.token_hex(20)
    needles = forms(value)
    functions = [system.deploy(source, lang) for lang, source in vars.SHOW.values()]
    for function in functions:
        vars.set_secret(function, "TOKEN", value)
        vars.put(function, "secrets/FAAS_X", value)  # refused
        assert vars.show(function, "TOKEN") == value
    # while calls run, too
    stop = threading.Event()
    callers = [threading.Thread(target=lambda f=f: [f.invoke("NONE") for _ in iter(stop.is_set, True)]) for f in functions]
    for caller in callers:
        caller.start()
    try:
        for _ in range(10):
            assert not procs_with(system.pid, needles)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert not files_with(system.home, needles)
    assert value not in system.process.text()
    system.kill_all()
    assert not files_with(system.home, needles)
    system.start()
    assert [vars.show(f, "TOKEN") for f in functions] == [value] * len(functions)
    assert not files_with(system.home, needles) and not procs_with(system.pid, needles)
    assert value not in system.process.text()


def readable_memory(pid):
    """The process's writable memory; None when we may not."""
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                span, mode, rest = line.split(None, 2)
                if "w" not in mode or "[v" in rest:
                    continue
                low, high = (int(part, 16) for part in span.split("-"))
                if high - low > 256 << 20:
                    continue
                memory.seek(low)
                try:
                    yield memory.read(high - low)
                except OSError:
                    pass
    except OSError:
        return


def test_not_left_in_the_gateways_memory(start_system):
    """It comes in, is sealed, and goes out with each LOAD: in between it is not there."""
    system = start_system(FAAS_WORKERS=1)
    gateway = system.pid_of("api_gateway")
    if not os.access(f"/proc/{gateway}/mem", os.R_OK) or not any(readable_memory(gateway)):
        pytest.skip("not run: this user may not read the memory of a process of its own")
    value = "hush-" + secrets.token_hex(20)
    shown = "shown-" + secrets.token_hex(20)
    functions = [system.deploy(source, lang) for lang, source in vars.SHOW.values()]
    for function in functions:
        vars.set_env(function, SHOWN=shown)
        vars.set_secret(function, "TOKEN", value)
        assert function.invoke("NONE").status == 200
    # The answers of the calls above are out, and so is what was sent for them.
    memory = list(readable_memory(gateway))
    assert sum(part.count(shown.encode()) for part in memory) > 0, "what is there is found"
    assert sum(part.count(value.encode()) for part in memory) == 0
    worker = system.pids("worker")[0]
    assert sum(part.count(value.encode()) for part in readable_memory(worker)) > 0, "the worker has it"


# --- the key ----------------------------------------------------------------------------------------------------------


def key_of(system):
    return Path(f"{system.data_dir}.key")


def test_key_is_made_at_first_use_and_private(start_system):
    system = start_system()
    function = system.deploy(vars.C, "c")
    vars.set_env(function, A="1")
    assert not key_of(system).exists()
    before = set(system.home.iterdir())
    vars.set_secret(function, "TOKEN", "1")
    assert set(system.home.iterdir()) - before == {key_of(system)}
    assert key_of(system).stat().st_mode & 0o7777 == 0o600
    key = key_of(system).read_bytes()
    vars.set_secret(function, "OTHER", "2")
    assert key_of(system).read_bytes() == key
    # and never in the data directory, which is what one copies
    assert not files_with(system.data_dir, [key.split()[1]])


def test_key_file_elsewhere_by_setting(start_system, tmp_path):
    system = start_system(FAAS_SECRET_KEY_FILE=tmp_path / "the.key")
    function = system.deploy(vars.C, "c")
    vars.set_secret(function, "TOKEN", "value")
    assert (tmp_path / "the.key").exists() and not key_of(system).exists()
    system.stop()
    system.start()
    assert vars.show(function, "TOKEN") == "value"


@pytest.mark.parametrize("kind", ["c", "js-handler", "py-handler", "py-script", "js-script"])
def test_without_the_key_no_call_and_no_plain_text(start_system, kind):
    system = start_system()
    lang, source = vars.SHOW[kind]
    function, other = system.deploy(source, lang), system.deploy(source, lang)
    vars.set_secret(function, "TOKEN", "value")
    vars.set_env(other, TOKEN="plain")
    key = key_of(system)
    aside = key.with_suffix(".aside")
    for spoil, words in (
        (lambda: key.rename(aside), "is missing"),
        (lambda: (aside.rename(key), key.chmod(0o644)), "can be read or changed by others"),
        (lambda: key.chmod(0o660), "can be read or changed by others"),
        (lambda: (key.chmod(0o600), aside.write_bytes(key.read_bytes()), key.write_bytes(b"")), "holds no key"),
        (lambda: key.write_bytes(aside.read_bytes()[:-2] + b"x\n"), "holds no key"),
        (lambda: (key.unlink(), key.mkdir()), "is no file"),
        (lambda: (key.rmdir(), key.write_text("minifaas-secret-key-1 " + "5" * 64 + "\n"), key.chmod(0o600)),
         "cannot be opened with the key file"),
    ):  # fmt: skip
        system.stop()
        spoil()
        system.start()
        function.invoke("TOKEN").assert_error(500, "secrets", "cannot be opened")
        function.http("POST", "/", "TOKEN").assert_error(500, "secrets")
        assert vars.show(other, "TOKEN") == "plain"
        assert vars.get_secrets(function) == ["TOKEN"]
        lines = [line for line in system.process.lines if words in line]
        assert len(lines) == 1 and str(key) in lines[0], system.process.text()
    system.stop()
    key.write_bytes(aside.read_bytes())
    system.start()
    assert vars.show(function, "TOKEN") == "value"


def test_no_second_key_while_secrets_need_the_first(start_system):
    system = start_system()
    function, other = system.deploy(vars.C, "c"), system.deploy(vars.C, "c")
    vars.set_secret(function, "TOKEN", "value")
    key = key_of(system)
    aside = key.with_suffix(".aside")
    system.stop()
    key.rename(aside)
    system.start()
    for target in (function, other):
        vars.put(target, "secrets/NEW", "x").assert_error(500, "secrets", "FAAS_SECRET_KEY_FILE", function.name)
    assert not key.exists() and vars.get_secrets(function) == ["TOKEN"]
    # The key comes back: the next change finds it, and the calls too, without a restart.
    aside.rename(key)
    vars.set_secret(other, "NEW", "x")
    assert vars.show(function, "TOKEN") == "value" and vars.show(other, "NEW") == "x"
    # Lost for good: what needs it is removed, and a new key is made.
    system.stop()
    key.unlink()
    system.start()
    assert vars.remove(function, "secrets/TOKEN").status == 204
    assert vars.show(function, "TOKEN") == "-"
    vars.put(function, "secrets/NEW", "x").assert_error(500, "secrets", other.name)
    assert vars.remove(other, "secrets").status == 204
    vars.set_secret(function, "TOKEN", "again")
    assert vars.show(function, "TOKEN") == "again" and key.exists()


def test_unsafe_key_file_is_not_used_for_new_secrets(start_system):
    system = start_system()
    function = system.deploy(vars.C, "c")
    key_of(system).write_text("minifaas-secret-key-1 " + "5" * 64 + "\n")
    key_of(system).chmod(0o640)
    vars.put(function, "secrets/TOKEN", "x").assert_error(500, "secrets", "chmod 600")
    assert vars.get_secrets(function) == []
    key_of(system).chmod(0o400)
    vars.set_secret(function, "TOKEN", "x")
    assert vars.show(function, "TOKEN") == "x"


def test_secret_is_bound_to_its_function_and_name(start_system):
    """Whoever can write the data directory cannot let one function have another's."""
    system = start_system()
    function, other = system.deploy(vars.C, "c"), system.deploy(vars.C, "c")
    vars.set_secret(function, "TOKEN", "value")
    vars.set_secret(function, "SECOND", "another")
    vars.set_secret(other, "TOKEN", "x")
    file, other_file = (system.data_dir / "vars" / f"{f.name}.json" for f in (function, other))
    whole, stolen = json.loads(file.read_text()), json.loads(other_file.read_text())
    stolen["secrets"]["TOKEN"] = whole["secrets"]["TOKEN"]
    renamed = json.loads(file.read_text())
    renamed["secrets"] = {"SECOND": whole["secrets"]["TOKEN"]}
    sealed = bytearray(base64.b64decode(whole["secrets"]["TOKEN"]))
    sealed[random.randrange(8, len(sealed))] ^= 1
    flipped = {**whole, "secrets": {"TOKEN": base64.b64encode(bytes(sealed)).decode()}}
    for victim, path, content in ((other, other_file, stolen), (function, file, renamed), (function, file, flipped)):
        system.stop()
        good = path.read_text()
        path.write_text(json.dumps(content))
        system.start()
        victim.invoke("TOKEN").assert_error(500, "secrets")
        victim.invoke("SECOND").assert_error(500, "secrets")
        system.stop()
        path.write_text(good)
        system.start()
    assert vars.show(function, "TOKEN") == "value" and vars.show(other, "TOKEN") == "x"


# --- killed in the middle ---------------------------------------------------------------------------------------------


def test_killed_while_secrets_are_set(start_system):
    """After each kill every secret has a value that was set, the last that was answered or the one under way."""
    system = start_system()
    functions = [system.deploy(vars.C, "c") for _ in range(3)]
    answered = {f.name: "-" for f in functions}
    tried = dict(answered)
    chance = random.Random(7)
    for round_number in range(6):
        stop = threading.Event()

        def writer(function, start, stop=stop):
            number = start
            while not stop.is_set():
                number += 1
                tried[function.name] = str(number)
                try:
                    if vars.put(function, "secrets/TOKEN", str(number)).status == 200:
                        answered[function.name] = str(number)
                except OSError:
                    return

        writers = [threading.Thread(target=writer, args=(f, round_number * 100000)) for f in functions]
        for thread in writers:
            thread.start()
        stop.wait(0.05 + chance.random() * 0.2)
        system.kill_all()
        stop.set()
        for thread in writers:
            thread.join()
        system.start()
        for function in functions:
            seen = vars.show(function, "TOKEN")
            assert seen in (answered[function.name], tried[function.name]), (seen, answered, tried)
            answered[function.name] = tried[function.name] = seen
    assert all(value != "-" for value in answered.values())


def test_killed_while_the_key_is_made(start_system):
    for delay_ms in (0, 1, 2, 4, 8):
        system = start_system()
        function = system.deploy(vars.C, "c")
        answers = []

        def put(function=function, answers=answers):
            try:
                answers.append(vars.put(function, "secrets/TOKEN", "value"))
            except OSError:
                pass

        thread = threading.Thread(target=put)
        thread.start()
        threading.Event().wait(delay_ms / 1000)
        system.kill_all()
        thread.join()
        system.start()
        assert vars.show(function, "TOKEN") in ("-", "value")
        vars.set_secret(function, "TOKEN", "after")
        assert vars.show(function, "TOKEN") == "after"
        system.stop()
        system.start()
        assert vars.show(function, "TOKEN") == "after"

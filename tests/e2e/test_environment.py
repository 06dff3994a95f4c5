"""A function's own variables: set through the API, seen by every call that starts after, kept, bounded, removed."""

import json
import threading

import pytest

import faas
import vars


@pytest.fixture
def function(system):
    return system.deploy(*reversed(vars.SHOW["py-handler"]), name=faas.unique_name("env"))


@pytest.mark.parametrize("kind", vars.SHOW)
def test_calls_after_the_answer_see_what_was_set(system, kind):
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    assert vars.show(function, "COLOUR") == "-"  # a process is there, and has no such variable
    for value in ("blue", "gr\u00fcn = \u00fc", "", "two\nlines"):
        vars.set_env(function, COLOUR=value, OTHER="1")
        assert vars.show(function, "COLOUR") == value
        assert vars.show(function, "OTHER") == "1"
    assert vars.get_env(function) == {"COLOUR": "two\nlines", "OTHER": "1"}
    vars.set_env(function, OTHER="2")  # replaces all
    assert vars.show(function, "COLOUR") == "-" and vars.show(function, "OTHER") == "2"
    assert vars.remove(function, "env").status == 204
    assert vars.show(function, "OTHER") == "-" and vars.get_env(function) == {}


def test_one_by_one(system, function):
    assert vars.put(function, "env/A", "1").json["env"] == {"A": "1"}
    assert vars.put(function, "env/B", "2").json["env"] == {"A": "1", "B": "2"}
    assert vars.put(function, "env/A", "3").json["env"] == {"A": "3", "B": "2"}
    assert vars.show(function, "A") == "3"
    assert vars.remove(function, "env/A").status == 204
    vars.remove(function, "env/A").assert_error(404, "not_found", "'A'")
    assert vars.show(function, "A") == "-" and vars.get_env(function) == {"B": "2"}


@pytest.mark.parametrize("kind", ["c", "py-handler", "js-handler"])
def test_on_http_calls_and_beside_the_platforms_own(system, kind):
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    vars.set_env(function, COLOUR="blue")
    assert vars.show(function, "FAAS_FUNCTION") == function.name
    assert vars.show(function, "FAAS_VERSION") == "1"
    assert vars.show(function, "COLOUR") == "blue"


def test_environment_does_not_replace_what_the_request_says(system):
    source = "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(getenv(\"REQUEST_METHOD\")); return 0; }\n"
    function = system.deploy(source, "c")
    vars.set_env(function, REQUEST_METHOD="FORGED", HTTP_HOST="forged")
    assert function.http("GET").body == b"GET\n"


@pytest.mark.parametrize("kind", ["c", "js-handler", "py-handler"])
def test_every_version_sees_it_also_a_later_one(system, kind):
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    vars.set_env(function, COLOUR="blue")
    second = system.deploy(source, lang, name=function.name, method="PUT")
    assert second.info["version"] == 2
    assert vars.show(second, "COLOUR") == "blue"
    assert json.dumps("blue").strip('"') in function.invoke("COLOUR", fn=function.id).output
    vars.set_env(function, COLOUR="red")
    assert "red" in function.invoke("COLOUR", fn=function.id).output
    assert vars.show(second, "COLOUR") == "red"


@pytest.mark.parametrize("kind", ["c", "py-handler", "js-script"])
def test_removed_with_the_function(system, kind):
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    vars.set_env(function, COLOUR="blue")
    file = system.data_dir / "vars" / f"{function.name}.json"
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert function.delete().status == 204
    assert not file.exists()
    again = system.deploy(source, lang, name=function.name)
    assert vars.show(again, "COLOUR") == "-" and vars.get_env(again) == {}


def test_survives_restart_and_kill(start_system):
    system = start_system()
    functions = [system.deploy(source, lang) for lang, source in vars.SHOW.values()]
    for i, function in enumerate(functions):
        vars.set_env(function, NUMBER=str(i))
    system.stop()
    system.start()
    assert [vars.show(f, "NUMBER") for f in functions] == [str(i) for i in range(len(functions))]
    system.kill_all()
    system.start()
    assert [vars.show(f, "NUMBER") for f in functions] == [str(i) for i in range(len(functions))]
    for part in ("api_gateway", "server"):
        faas.kill(system.pid_of(part))
        system.wait_ready()
        assert [vars.show(f, "NUMBER") for f in functions] == [str(i) for i in range(len(functions))]


def test_describe_names_them(system, function):
    vars.set_env(function, B="2", A="1")
    described = function.describe()
    assert described["env"] == ["A", "B"] and described["secrets"] == []


# --- under load -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", vars.SHOW)
def test_no_call_that_starts_after_the_answer_sees_an_older_value(system, kind):
    """Callers that never pause: each may see the value of its start or a newer one, and none fails."""
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    vars.set_env(function, N="0")
    known, stop, wrong = [0], threading.Event(), []

    def caller():
        while not stop.is_set():
            least = known[0]
            answer = function.invoke("N")
            seen = int(answer.output.strip('"')) if answer.status == 200 else -1
            if seen < least or seen > known[0] + 1:
                wrong.append((least, known[0], answer))

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for value in range(1, 13):
            assert vars.put(function, "env/N", str(value)).status == 200
            known[0] = value
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_long_call_goes_on_with_what_it_has(system):
    source = ("import os, time\ndef handler(event, context):\n    first = os.environ['N']\n    time.sleep(0.6)\n"
              "    return [first, os.environ['N']]\n")  # fmt: skip
    function = system.deploy(source, "python")
    vars.set_env(function, N="1")
    function.invoke()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function.invoke()))
    thread.start()
    faas.wait_until(lambda: any(w["function"] == function.name and w["in_flight"]
                                for w in system.request("GET", "/workers").json["workers"]), 5, "call runs")  # fmt: skip
    vars.set_env(function, N="2")
    assert json.loads(function.invoke().output) == ["2", "2"]
    thread.join()
    assert json.loads(answers[0].output) == ["1", "1"]


def test_changes_at_the_same_time_are_all_kept(system, function):
    answers = faas.parallel(12, lambda i: vars.put(function, f"env/K{i}", str(i)))
    assert [a.status for a in answers] == [200] * 12
    assert vars.get_env(function) == {f"K{i}": str(i) for i in range(12)}


def test_change_during_a_deploy_of_the_function(system):
    lang, source = vars.SHOW["c"]
    function = system.deploy(source, lang)
    answers = faas.parallel(2, lambda i: vars.put(function, "env/A", "1") if i else
                            system.try_deploy(source, lang, name=function.name, method="PUT"))  # fmt: skip
    assert [a.status for a in answers] == [201, 200], answers
    assert vars.show(function, "A") == "1"


def test_changes_while_the_function_is_removed_and_comes_back(system):
    lang, source = vars.SHOW["c"]
    for _ in range(8):
        function = system.deploy(source, lang)
        answers = faas.parallel(4, lambda i, f=function: vars.put(f, "env/A", "old") if i else f.delete())
        assert answers[0].status == 204, answers
        assert {a.status for a in answers[1:]} <= {200, 404}, answers
        again = system.deploy(source, lang, name=function.name)
        assert vars.show(again, "A") == "-" and vars.get_env(again) == {}
        again.delete()


def test_worker_that_was_told_much_goes_on(start_system):
    """What a worker keeps of functions is bounded; it is made to forget before that, and is told again."""
    system = start_system(FAAS_WORKERS=1, FAAS_WORKERS_MAX=1)
    lang, source = vars.SHOW["c"]
    function, other = system.deploy(source, lang), system.deploy(source, lang)
    vars.set_env(other, A="other")
    assert vars.show(other, "A") == "other"
    worker = system.pids("worker")
    vars.set_env(function, **{f"L{i}": "x" * 32000 for i in range(4)})
    for i in range(1060):  # 129 MiB in all
        assert vars.put(function, "env/N", str(i)).status == 200
        if i % 100 == 0 or i > 1040:
            assert vars.show(function, "N") == str(i) and vars.show(other, "A") == "other"
        else:
            assert function.invoke("N").status == 200
    assert system.pids("worker") == worker


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1A", "A-B", "A.B", "A B", "\u00c4", "FAAS_X", "FAAS_", "A" * 129, "A=B"])
def test_name_that_is_none_is_400(system, function, name):
    vars.put_env(function, {name: "1"}).assert_error(400, "bad_request", name[:20])
    if all(c.isascii() and c not in " " for c in name):
        vars.put(function, f"env/{name}", "1").assert_error(400, "bad_request")
        vars.put(function, f"secrets/{name}", "1").assert_error(400, "bad_request")
        vars.remove(function, f"env/{name}").assert_error(400, "bad_request")
    assert vars.get_env(function) == {}


@pytest.mark.parametrize("body", ["", "{", "[]", '"A"', "null", '{"A":1}', '{"A":null}', '{"A":{}}', '{"A":"1","A":"2"}',
                                  '{"":"1"}', '{"A":"\\u0000"}', b'{"A":"\xff"}', '{"A":"1"}x'])  # fmt: skip
def test_body_that_is_no_environment_is_400(system, function, body):
    vars.set_env(function, KEEP="1")
    vars.put_env(function, body).assert_error(400, "bad_request")
    assert vars.get_env(function) == {"KEEP": "1"}


@pytest.mark.parametrize("kind", ["c", "js-script", "py-handler"])
def test_as_large_as_may_be(system, kind):
    lang, source = vars.SHOW[kind]
    function = system.deploy(source, lang)
    # 63 small ones, and all together 128 KiB
    env = {f"K{i:02}": str(i) for i in range(60)}
    large = 32768
    env.update({"L1": "x" * large, "L2": "\u00fc" * (large // 2), "L3": "\"\n" * (large // 2)})
    used = sum(len(k) + len(v.encode()) for k, v in env.items())
    env["REST"] = "r" * (131072 - used - 4)
    assert len(env) == 64 and sum(len(k) + len(v.encode()) for k, v in env.items()) == 131072
    vars.set_env(function, **env)
    for name in ("K00", "K59", "L1", "L2", "REST"):
        assert vars.show(function, name) == env[name]
    vars.put(function, "env/REST", env["REST"] + "r").assert_error(400, "bad_request", "131073")
    vars.put(function, "env/K65", "").assert_error(400, "bad_request")
    assert vars.get_env(function) == env


def test_over_a_bound_is_400_and_changes_nothing(system, function):
    vars.set_env(function, KEEP="1")
    vars.put_env(function, {"A": "x" * 32769}).assert_error(400, "bad_request", "'A'", "32768")
    vars.put_env(function, {f"K{i}": "" for i in range(65)}).assert_error(400, "bad_request", "64")
    vars.put_env(function, {f"K{i}": "x" * 32768 for i in range(5)}).assert_error(400, "bad_request", "131072")
    vars.put(function, "env/A", b"\xff").assert_error(400, "bad_request", "UTF-8")
    vars.put(function, "env/A", b"a\0b").assert_error(400, "bad_request", "NUL")
    vars.put_env(function, b'{"A":"' + b"x" * (2 << 20) + b'"}').assert_error(413, "too_large")
    assert vars.get_env(function) == {"KEEP": "1"}


# --- routes -----------------------------------------------------------------------------------------------------------


def test_routes_say_what_they_take(system, function):
    for method, rest, allow in (
        ("POST", "env", "GET, PUT, DELETE"), ("GET", "env/A", "PUT, DELETE"), ("PUT", "secrets", "GET, DELETE"),
        ("GET", "secrets/A", "PUT, DELETE"), ("POST", "secrets/A", "PUT, DELETE"),
    ):  # fmt: skip
        answer = system.request(method, vars.path(function, rest), "")
        answer.assert_error(405, "method_not_allowed")
        assert answer.header("Allow") == allow
    for rest in ("", "environment", "env2", "secret/A", "limits"):
        system.request("GET", vars.path(function, rest)).assert_error(404, "not_found")
    for rest in ("env/", "env/A/B", "secrets/"):
        vars.put(function, rest, "1").assert_error(400, "bad_request")


def test_function_that_is_not_there_and_a_version(system, function):
    system.request("GET", "/function/nobody/env").assert_error(404, "not_found", "nobody")
    system.request("PUT", "/function/nobody/env/A", "1").assert_error(404, "not_found", "nobody")
    system.request("PUT", f"/function/{function.id}/env/A", "1").assert_error(400, "bad_request", "version")
    for name in ("..", "%2e%2e", "a%2fb", "A"):
        system.request("PUT", f"/function/{name}/env/A", "1").assert_error(404, "not_found")
    assert not (system.data_dir.parent / "env").exists()


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_file_that_makes_no_sense_stops_its_function_alone(start_system):
    system = start_system()
    lang, source = vars.SHOW["c"]
    good, bad = system.deploy(source, lang), system.deploy(source, lang)
    for function in (good, bad):
        vars.set_env(function, A="1")
    file = system.data_dir / "vars" / f"{bad.name}.json"
    whole = file.read_bytes()
    for content in (b"", b"{", whole[:-10], whole.replace(b'"format":1', b'"format":2'),
                    (file.parent / f"{good.name}.json").read_bytes()):  # fmt: skip
        system.stop()
        file.write_bytes(content)
        system.start()
        assert vars.show(good, "A") == "1"
        bad.invoke("A").assert_error(500, "secrets", "variables cannot be read")
        system.request("GET", vars.path(bad, "env")).assert_error(500, "internal")
        vars.put(bad, "env/B", "2").assert_error(500, "internal")
        assert f"vars/{bad.name}.json" in system.process.text()
    system.stop()
    file.write_bytes(whole)
    system.start()
    assert vars.show(bad, "A") == "1"


def test_file_without_its_function_and_half_a_write_are_swept(start_system):
    system = start_system()
    lang, source = vars.SHOW["c"]
    function = system.deploy(source, lang)
    vars.set_env(function, A="1")
    folder = system.data_dir / "vars"
    system.stop()
    (folder / "gone.json").write_bytes((folder / f"{function.name}.json").read_bytes())
    (folder / ".next").write_bytes(b"half")
    system.start()
    assert [p.name for p in folder.iterdir()] == [f"{function.name}.json"]
    assert vars.show(function, "A") == "1"

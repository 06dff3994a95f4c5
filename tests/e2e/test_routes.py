"""Routes, statuses, names and ids: the table of the contract."""

import json
import re
import time
import urllib.parse
from pathlib import Path

import pytest

import faas

HELLO_PY = "def handler(event, context):\n    return 'hi'\n"


@pytest.fixture
def hello(system):
    return system.shared(Path("c/hello.c"), "c")


def test_deploy_answer(system):
    source = (faas.EXAMPLES / "c/hello.c").read_bytes()
    before = int(time.time())
    name = faas.unique_name()
    answer = system.try_deploy(source, "c", name)
    assert answer.status == 201
    value = answer.json
    assert value["ok"] is True and value["name"] == name and value["lang"] == "c" and value["wasm"] is True
    assert value["size"] == len(source) and value["version"] == 1 and value["entry"] == "wasi"
    found = re.fullmatch(re.escape(name) + r"_(\d+)", value["id"])
    assert found and before <= int(found[1]) <= time.time() + 1


def test_deploy_answer_of_an_interpreted_language(system):
    value = system.deploy(HELLO_PY, "python").info
    assert value["wasm"] is False and value["entry"] == "handler" and value["size"] == len(HELLO_PY)


def test_invoke_is_exactly_the_contract(hello):
    answer = hello.invoke()
    assert answer.status == 200
    assert answer.json == {"ok": True, "output": "Hello from FAAS!\n"}


def test_invoke_without_content_length_as_curl_does(system, hello):
    with system.raw() as raw:
        answer = raw.send(f"POST /invoke?fn={hello.name} HTTP/1.1\r\nHost: x\r\n\r\n").answer()
        assert answer.output == "Hello from FAAS!\n"


def test_invoke_by_id(system, hello):
    assert hello.invoke(fn=hello.id).output == "Hello from FAAS!\n"


def test_describe(system):
    source = "def handler(event, context):\n    return {'text': 'ü \"quoted\" \\\\ \t'}\n"
    function = system.deploy(source, "python", timeout_ms=1234, memory_mb=77, concurrency=3)
    value = function.describe()
    assert value["ok"] is True
    assert (value["id"], value["name"], value["lang"]) == (function.id, function.name, "python")
    assert value["size"] == len(source.encode()) and value["code"] == source and value["version"] == 1
    text = json.dumps(value)
    for limit, number in (("timeout_ms", 1234), ("memory_mb", 77), ("concurrency", 3)):
        assert re.search(rf'"{limit}": {number}\b', text), text
    assert system.request("GET", f"/function/{function.id}").json["id"] == function.id


def test_describe_shows_default_limits(hello):
    text = json.dumps(hello.describe())
    for limit, number in (("timeout_ms", 10000), ("memory_mb", 128), ("concurrency", 0)):
        assert re.search(rf'"{limit}": {number}\b', text), text


def test_functions_lists_newest_first(system):
    functions = [system.deploy(HELLO_PY, "python") for _ in range(3)]
    functions[0].invoke()
    answer = system.request("GET", "/functions")
    assert answer.status == 200 and answer.json["ok"] is True
    listed = answer.json["functions"]
    names = [row["name"] for row in listed]
    assert names[:3] == [f.name for f in reversed(functions)]
    row = listed[2]
    assert (row["id"], row["lang"], row["version"], row["size"]) == (functions[0].id, "python", 1, len(HELLO_PY))
    assert row["calls"] == 1 and listed[0]["calls"] == 0
    assert any(key.startswith("last_call") for key in row), row


def test_workers_lists_the_workers(system):
    answer = system.request("GET", "/workers")
    assert answer.status == 200 and answer.json["ok"] is True
    pids = {row["pid"] for row in answer.json["workers"]}
    assert set(system.pids("worker")) <= pids


def test_delete(system):
    function = system.deploy(HELLO_PY, "python")
    answer = function.delete()
    assert answer.status == 204 and answer.body == b""
    system.request("GET", f"/function/{function.name}").assert_error(404, "not_found")
    function.invoke().assert_error(404, "not_found")
    function.invoke(fn=function.id).assert_error(404, "not_found")
    function.delete().assert_error(404, "not_found")
    assert function.name not in [row["name"] for row in system.request("GET", "/functions").json["functions"]]


def test_name_is_free_after_delete_and_the_id_is_new(system):
    first = system.deploy(HELLO_PY, "python")
    first.delete()
    second = system.deploy(HELLO_PY, "python", first.name)
    assert second.id != first.id


def test_ids_of_a_name_are_never_used_twice(system):
    name, ids = faas.unique_name(), set()
    for _ in range(4):
        function = system.deploy(HELLO_PY, "python", name)
        assert function.id.startswith(name + "_")
        ids.add(function.id)
        function.delete()
    assert len(ids) == 4


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health(system, path):
    assert system.request("GET", path).status == 200


GOOD_NAMES = ["a", "0", "a-b_c", "x" * 63, "a_12345678", "a_123456789b", "z_"]
BAD_NAMES = ["", "A", "-a", "_a", "a.b", "a/b", "../a", "a b", "ä", "x" * 64, "a\0b", "a\n", "a%", "a_123456789",
             "a_1728435600", "a" * 4000]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_name(system, name):
    function = system.deploy(HELLO_PY, "python", name)
    assert function.invoke().output == '"hi"'
    assert function.delete().status == 204


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_bad_name(system, name):
    query = urllib.parse.urlencode({"name": name, "lang": "python"})
    for method in ("POST", "PUT"):
        system.request(method, "/deploy?" + query, HELLO_PY).assert_error(400, "bad_request")


ERRORS = [
    # method, path, body, status, cause, words of the error
    ("GET", "/nothing-here", None, 404, "not_found", []),
    ("GET", "/function/nobody", None, 404, "not_found", ["nobody"]),
    ("DELETE", "/function/nobody", None, 404, "not_found", ["nobody"]),
    ("POST", "/function/nobody", b"", 404, "not_found", ["nobody"]),
    ("GET", "/fn/nobody", None, 404, "not_found", ["nobody"]),
    ("GET", "/fn/nobody/path?query", None, 404, "not_found", ["nobody"]),
    ("POST", "/invoke?fn=nobody", b"", 404, "not_found", ["nobody"]),
    ("POST", "/invoke?fn=nobody_1728435600", b"", 404, "not_found", []),
    ("POST", "/invoke", b"", 400, "bad_request", ["fn"]),
    ("POST", "/invoke?fn=", b"", (400, 404), None, []),
    ("POST", "/invoke?fn=%zz", b"", (400, 404), None, []),
    ("POST", "/invoke?fn=..%2F..%2Fetc", b"", (400, 404), None, []),
    ("GET", "/function/..%2F..%2Fetc%2Fpasswd", None, (400, 404), None, []),
    ("POST", "/deploy?lang=c", b"int main(){}", 400, "bad_request", ["name"]),
    ("POST", "/deploy?name=abc", b"int main(){}", 400, "bad_request", ["lang"]),
    ("POST", "/deploy?name=abc&lang=cobol", b"x", 400, "bad_request",
     ["c", "cpp", "rust", "go", "wasm", "js", "python", "php", "html"]),
    ("POST", "/deploy?name=abc&lang=", b"x", 400, "bad_request", []),
    ("POST", "/deploy?name=abc&lang=python", b"", 422, None, []),
    ("PUT", "/strategy", b"RANDOM", 400, "bad_request", ["RR", "FIFO", "WEIGHTED"]),
    ("PUT", "/strategy", b"", 400, "bad_request", []),
    ("GET", "/deploy?name=a&lang=c", None, 405, "method_not_allowed", []),
    ("PATCH", "/functions", b"", 405, "method_not_allowed", []),
    ("DELETE", "/healthz", None, 405, "method_not_allowed", []),
    ("POST", "/metrics", b"", 405, "method_not_allowed", []),
    ("DELETE", "/invoke?fn=a", None, 405, "method_not_allowed", []),
    ("PATCH", "/function/nobody", b"", (404, 405), None, []),
]  # fmt: skip


@pytest.mark.parametrize("method, path, body, status, cause, words", ERRORS, ids=lambda v: str(v)[:40])
def test_error(system, method, path, body, status, cause, words):
    answer = system.request(method, path, body)
    assert answer.status in (status if isinstance(status, tuple) else (status,)), answer
    answer.assert_error(answer.status, cause, *words)
    if answer.status == 405:
        assert answer.header("Allow"), answer


LIMITS = [("timeout_ms", "0"), ("timeout_ms", "-1"), ("timeout_ms", "abc"), ("timeout_ms", "99999999999999999999"),
          ("timeout_ms", ""), ("timeout_ms", "10x"), ("memory_mb", "0"), ("memory_mb", "999999"),
          ("concurrency", "-1"), ("concurrency", "1.5")]  # fmt: skip


@pytest.mark.parametrize("limit, value", LIMITS)
def test_limit_outside_the_caps_names_the_cap(system, limit, value):
    answer = system.try_deploy(HELLO_PY, "python", **{limit: value})
    answer.assert_error(400, "bad_request", limit)


def test_limit_over_the_cap_says_the_cap(system):
    error = system.try_deploy(HELLO_PY, "python", timeout_ms=900001).assert_error(400, "bad_request", "timeout_ms")
    assert "900000" in error["error"]


def test_unknown_lang_beats_nothing_is_built(system):
    name = faas.unique_name()
    system.try_deploy("x", "cobol", name).assert_error(400, "bad_request")
    system.request("GET", f"/function/{name}").assert_error(404)

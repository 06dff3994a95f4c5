"""Paths, names and ids that want to be somewhere else: no file but a function's own is ever read, written or removed."""

import os
import urllib.parse

import pytest

import faas

HELLO_PY = "def handler(event, context):\n    return 'hi'\n"

NAMES = ["..", ".", "../..", "../../etc/passwd", "..%2f..", "%2e%2e", "%2e%2e%2f", "%252e%252e%252f", "....//", "..;/",
         "names/..", ".keys", ".keys/keys", "/etc/passwd", "\\..\\..", "%5c..%5c", "..%00", "hello%00.js", "%00",
         "hello%0a", "hello%20", "%20hello", "hello/", "/hello", "hello//", "./hello", "hello/.", "hello/../hello",
         "a/b", "%c0%ae%c0%ae%c0%af", "\u2025", "~root", "$HOME", "`id`", "hello;ls", "-", "_", "-x", "HELLO", "h\u00e9",
         "x" * 64, "x" * 5000, "hello_1234567890", "hello_99999999999999999999", "*", "?", "[a]", "{}", "'", '"',
         "%s%n", "%", "%2", "%zz"]  # fmt: skip


def quote(name):
    return "".join(c if c in "%/.;\\~$*[]{}'-_" or c.isascii() and c.isalnum() else urllib.parse.quote(c) for c in name)


def tree(path):
    """Every path below, with what it holds."""
    found = {}
    for root, dirs, files in os.walk(path):
        for name in dirs + files:
            full = os.path.join(root, name)
            found[full] = os.readlink(full) if os.path.islink(full) else os.stat(full).st_size
    return found


@pytest.fixture
def hello(system):
    return system.shared(HELLO_PY, "python")


@pytest.mark.parametrize("name", NAMES)
def test_name_is_refused_on_every_route_and_touches_nothing(system, hello, name):
    before = tree(system.data_dir)
    raw_name = quote(name)
    for method, path, body in [("POST", f"/deploy?name={raw_name}&lang=python", HELLO_PY),
                               ("PUT", f"/deploy?name={raw_name}&lang=python", HELLO_PY),
                               ("POST", f"/invoke?fn={raw_name}", ""), ("GET", f"/function/{raw_name}", ""),
                               ("DELETE", f"/function/{raw_name}", ""), ("POST", f"/function/{raw_name}", ""),
                               ("GET", f"/fn/{raw_name}", ""), ("GET", f"/fn/{raw_name}/x", "")]:  # fmt: skip
        with system.raw() as raw:
            raw.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            answer = raw.answer()
            assert answer.status in (400, 404, 405, 414), (method, path, answer)
            assert answer.json["ok"] is False
            assert b"root:" not in answer.body and b"minifaas-keys" not in answer.body
    assert tree(system.data_dir) == before


@pytest.mark.parametrize("name", ["names", "keys", "lock", "con", "code", "metadata", "invoke", "0"])
def test_names_of_the_platforms_own_files_are_names_like_others(system, name):
    function = system.deploy(HELLO_PY, "python", name)
    assert function.invoke().output == '"hi"'
    assert function.delete().status == 204
    system.request("GET", f"/function/{name}").assert_error(404)


@pytest.mark.parametrize("path", ["/../functions", "/./functions", "//functions", "/functions/", "/functions/..", "/FUNCTIONS",
                                  "/function/../functions", "/fn/../functions", "/%66unctions", "/functions%00",
                                  "/functions%2f", "/healthz/../metrics", "/metrics/", "/%2e%2e/functions", "/;/functions",
                                  "/functions;x", "/..%2ffunctions", "/", "", "//", "/.", "/..",
                                  "http://x/../functions", "http://x//functions"])  # fmt: skip
def test_route_has_one_name_only(system, path):
    with system.raw() as raw:
        answer = raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").answer()
        assert answer.status in (400, 404), (path, answer)


def test_path_behind_the_name_is_the_functions_own_affair(system):
    source = "def handler(event, context):\n    return event['rawPath']\n"
    function = system.shared(source, "python")
    for path in ("/../../etc/passwd", "/./x", "//x", "/a/../b", "/%2e%2e/%2e%2e/x", "/;x"):
        with system.raw() as raw:
            answer = raw.send(f"GET /fn/{function.name}{path} HTTP/1.1\r\nHost: x\r\n\r\n").answer()
            assert answer.status == 200, (path, answer)
            assert answer.json in (path, urllib.parse.unquote(path)), (path, answer)
    for path in ("/%00", "/%", "/%2", "/%zz"):
        with system.raw() as raw:
            raw.send(f"GET /fn/{function.name}{path} HTTP/1.1\r\nHost: x\r\n\r\n").answer().assert_error(400)


@pytest.mark.parametrize("params", ["lang=python&lang=c", "lang=../../python", "lang=python%00", "lang=", "lang=PYTHON"])
def test_language_is_one_of_the_list(system, params):
    name = faas.unique_name()
    answer = system.request("POST", f"/deploy?name={name}&{params}", HELLO_PY)
    if params == "lang=python&lang=c":  # the first counts
        assert answer.status == 201
    else:
        answer.assert_error(400, "bad_request")
        assert system.request("GET", f"/function/{name}").status == 404


def test_query_of_a_thousand_parameters(system, hello):
    many = "&".join(f"p{i}={i}" for i in range(1000))
    assert system.request("POST", f"/invoke?{many}&fn={hello.name}", "").status == 200
    assert system.request("POST", f"/invoke?fn={hello.name}&{'&' * 5000}", "").status == 200
    system.request("POST", f"/invoke?fn={'a' * 10000}", "").assert_error(400)
    system.request("POST", f"/deploy?name=x&lang={'a' * 10000}", "x").assert_error(400)

"""Every program below examples/ does what its first comment says."""

import json
import re
from pathlib import Path

import pytest

import faas

LANGS = {"c": "c", "cpp": "cpp", "rust": "rust", "python": "python", "js": "js"}
ALL = sorted(path.relative_to(faas.EXAMPLES) for path in faas.EXAMPLES.glob("*/*.*"))


def example(system, path):
    return system.shared(Path(path), LANGS[Path(path).parts[0]])


@pytest.mark.parametrize("path", ALL, ids=str)
def test_example_deploys_with_the_command_in_its_first_line(system, path):
    first = (faas.EXAMPLES / path).read_text().splitlines()[0]
    command = re.search(r"curl -X POST 'http://127\.0\.0\.1:8080/deploy\?name=([a-z0-9-]+)&lang=(\w+)'"
                        r" --data-binary @(examples/\S+)", first)  # fmt: skip
    assert command, first
    assert command[2] == LANGS[path.parts[0]]
    assert faas.ROOT / command[3] == faas.EXAMPLES / path
    assert example(system, path).info["lang"] == command[2]


@pytest.mark.parametrize(
    "path, payload, output",
    [
        ("c/hello.c", "", "Hello from FAAS!\n"),
        ("cpp/hello.cpp", "", "Hello from C++!\n"),
        ("rust/hello.rs", "", "Hello from Rust!\n"),
        ("js/hello.js", "", "Hello from JavaScript!\n"),
        ("js/hello_script.js", "", "Hello from JavaScript!\n"),
        ("js/hello_script.js", "Ada", "Hello from Ada!\n"),
        ("python/hello_script.py", "", "Hello from Python!\n"),
        ("python/hello_script.py", "Ada", "Hello from Ada!\n"),
        ("c/primes.c", "100000", "9592 primes up to 100000\n"),
        ("python/wsgi_app.py", "abc", "POST / query='' body=3 bytes\n"),
        ("python/asgi_app.py", "abc", "POST / query='' body=3 bytes\n"),
    ],
)
def test_output(system, path, payload, output):
    assert example(system, path).invoke(payload).output == output


@pytest.mark.parametrize(
    "path, payload, value",
    [
        ("python/hello.py", '{"name":"Ada"}', {"message": "Hello from Ada!"}),
        ("python/hello.py", "", {"message": "Hello from Python!"}),
        ("js/hello_lambda.js", '{"name":"Ada"}', {"message": "Hello from Ada!"}),
        ("js/hello_lambda.js", "", {"message": "Hello from Lambda!"}),
    ],
)
def test_handler_value(system, path, payload, value):
    assert json.loads(example(system, path).invoke(payload).output) == value


@pytest.mark.parametrize("path", ["c/echo.c", "cpp/echo.cpp", "rust/echo.rs", "js/echo.js"])
def test_echo(system, path):
    function = example(system, path)
    assert function.invoke("grüße\n").output == "grüße\n"
    payload = bytes(range(256)) * 1000
    answer = function.http("POST", body=payload)
    assert answer.status == 200 and answer.body == payload


def test_echo_python_gives_the_event_back(system):
    function = example(system, "python/echo.py")
    assert json.loads(function.invoke('{"a":[1,2]}').output) == {"a": [1, 2]}
    assert json.loads(function.invoke("no JSON").output) == "no JSON"


def test_hello_js_by_path(system):
    answer = example(system, "js/hello.js").http("GET", "/Ada%20L")
    assert (answer.status, answer.text) == (200, "Hello from Ada L!\n")


@pytest.mark.parametrize("path", ["python/wsgi_app.py", "python/asgi_app.py"])
def test_web_app_by_path(system, path):
    answer = example(system, path).http("GET", "/any/path?q=1")
    assert (answer.status, answer.text) == (200, "GET /any/path query='q=1' body=0 bytes\n")


def test_json_transform(system):
    function = example(system, "c/json_transform.c")
    document = {"name": "ada", "n": [1, 2.5, -3], "deep": {"x": None, "é": "héllo", "t": True}}
    result = json.loads(function.invoke(json.dumps(document, ensure_ascii=False)).output)
    assert result == {"sum": 0.5, "result": {"name": "ADA", "n": [1, 2.5, -3],
                                             "deep": {"x": None, "é": "HéLLO", "t": True}}}  # fmt: skip
    large = json.dumps([{"key": "value" * 10, "n": 1}] * 20000)
    assert json.loads(function.invoke(large).output)["sum"] == 20000


@pytest.mark.parametrize("document", ["", "{", '{"a":}', "[1,]", "01", '"\\x"', '{"a":1}x', "[" * 10000, "nul"])
def test_json_transform_refuses_what_is_no_json(system, document):
    value = example(system, "c/json_transform.c").invoke(document).assert_error(500, "exit")
    assert value["output"].startswith("no JSON from byte ")


def test_primes_refuses_what_is_no_number(system):
    value = example(system, "c/primes.c").invoke("many").assert_error(500, "exit")
    assert "payload is a number" in value["output"]

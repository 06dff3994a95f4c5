"""A function as a plain HTTP endpoint: /fn/NAME/any/path?query and POST /function/NAME, in every style."""

import base64
import json
import re
from pathlib import Path

import pytest

import faas

# --- WASI: CGI variables in, plain bytes out ------------------------------------------------------------------------

PRINT_ENV = r"""
#include <stdio.h>
extern char **environ;
int main(void) {
    for (char **e = environ; *e; e++) puts(*e);
    char body[4096];
    size_t len = fread(body, 1, sizeof body, stdin);
    printf("BODY=%.*s\n", (int)len, body);
    return 0;
}
"""

ENV_PY = "import os, sys\nbody = sys.stdin.read()\nfor k, v in os.environ.items():\n    print(f'{k}={v}')\n" \
         "print('BODY=' + body)\n"  # fmt: skip
ENV_JS = "const body = require('fs').readFileSync(0, 'utf8');\n" \
         "for (const [k, v] of Object.entries(process.env)) console.log(`${k}=${v}`);\nconsole.log('BODY=' + body);\n"  # fmt: skip


@pytest.mark.parametrize("lang, source", [("c", PRINT_ENV), ("python", ENV_PY), ("js", ENV_JS)], ids=["c", "py", "js"])
def test_cgi_variables(system, lang, source):
    function = system.shared(source, lang)
    answer = function.http("PUT", "/a%20b/c?x=1&y=%20", "pay=load", {"X-Odd-Name": "v w", "Content-Type": "text/x-test"})
    assert answer.status == 200
    values = dict(line.split("=", 1) for line in answer.text.splitlines() if "=" in line)
    expected = {
        "REQUEST_METHOD": "PUT", "PATH_INFO": "/a b/c", "QUERY_STRING": "x=1&y=%20", "CONTENT_LENGTH": "8",
        "CONTENT_TYPE": "text/x-test", "SCRIPT_NAME": f"/fn/{function.name}", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1", "HTTP_X_ODD_NAME": "v w", "FAAS_FUNCTION": function.name, "BODY": "pay=load",
        "FAAS_CALL_ID": answer.header("X-Call-Id"),
    }  # fmt: skip
    assert {key: values.get(key) for key in expected} == expected
    assert "HTTP_CONTENT_LENGTH" not in values and "HTTP_CONTENT_TYPE" not in values


def test_headers_cannot_fake_variables(system):
    """HTTP_PROXY (httpoxy), and names that would be FAAS_ or REQUEST_METHOD."""
    function = system.shared(PRINT_ENV, "c")
    text = function.http("GET", "/", None, {"Proxy": "evil", "FAAS_FUNCTION": "evil", "Request-Method": "evil"}).text
    lines = text.splitlines()
    assert f"FAAS_FUNCTION={function.name}" in lines and "REQUEST_METHOD=GET" in lines
    assert not [line for line in lines if line.startswith("HTTP_PROXY=")]


@pytest.mark.parametrize("path, path_info", [("", "/"), ("/", "/"), ("/x/", "/x/"), ("//x", "//x"), ("/x?", "/x"),
                                             ("/%C3%A9", "/é"), ("/../y", "/../y")])  # fmt: skip
def test_path_info(system, path, path_info):
    text = system.shared(PRINT_ENV, "c").http("GET", path).text
    assert f"PATH_INFO={path_info}" in text.splitlines()


def test_post_to_function_is_the_same_endpoint(system):
    function = system.shared(PRINT_ENV, "c")
    answer = system.request("POST", f"/function/{function.name}", "abc")
    assert answer.status == 200
    assert {"PATH_INFO=/", "REQUEST_METHOD=POST", "BODY=abc"} <= set(answer.text.splitlines())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_any_method(system, method):
    answer = system.shared(PRINT_ENV, "c").http(method, "/")
    assert answer.status == 200 and f"REQUEST_METHOD={method}" in answer.text.splitlines()


def test_by_id_as_well(system):
    function = system.shared(Path("c/hello.c"), "c")
    assert system.request("GET", f"/fn/{function.id}/").text == "Hello from FAAS!\n"


@pytest.mark.parametrize("payload, kind", [
    (b"text \xc3\xa9", "text/plain; charset=utf-8"), (b"", "text/plain; charset=utf-8"),
    (b"\xff\x00", "application/octet-stream"),
])  # fmt: skip
def test_content_type_of_plain_output(system, payload, kind):
    answer = system.shared(Path("c/echo.c"), "c").http("POST", "/", payload)
    assert (answer.status, answer.body, answer.header("Content-Type")) == (200, payload, kind)
    assert answer.header("Content-Length") == str(len(payload))


@pytest.mark.parametrize("lang, source", [
    ("python", "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())\n"),
    ("js", "process.stdout.write(require('fs').readFileSync(0));\n"),
])  # fmt: skip
def test_script_output_is_the_body_as_it_is(system, lang, source):
    payload = bytes(range(256)) * 2000
    answer = system.shared(source, lang).http("POST", "/", payload)
    assert answer.status == 200 and answer.body == payload
    assert answer.header("Content-Type") == "application/octet-stream"


# --- http=cgi -------------------------------------------------------------------------------------------------------

CGI = "#include <stdio.h>\nint main(void) { char b[65536]; size_t n = fread(b, 1, sizeof b, stdin); " \
      "fwrite(b, 1, n, stdout); return 0; }\n"  # fmt: skip


@pytest.fixture
def cgi(system):
    return system.shared(CGI, "c", http="cgi")


def test_cgi_response(cgi):
    answer = cgi.http("POST", "/", b"Status: 404 Not Here\r\nContent-Type: text/html\r\nX-One: a\r\nSet-Cookie: a=1\r\n"
                                   b"Set-Cookie: b=2\r\n\r\n<p>body</p>")  # fmt: skip
    assert answer.status == 404 and answer.text == "<p>body</p>"
    assert answer.header("Content-Type") == "text/html" and answer.header("X-One") == "a"
    assert answer.header_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.header("Status") is None


def test_cgi_response_with_bare_newlines(cgi):
    answer = cgi.http("POST", "/", b"Content-Type: text/plain\nX-One: a\n\nbody\n")
    assert (answer.status, answer.text, answer.header("X-One")) == (200, "body\n", "a")


def test_cgi_redirect(cgi):
    answer = cgi.http("POST", "/", b"Location: http://example.com/x\r\n\r\n")
    assert answer.status == 302 and answer.header("Location") == "http://example.com/x"


def test_cgi_body_is_binary_safe(cgi):
    body = bytes(range(256)) * 10
    answer = cgi.http("POST", "/", b"Content-Type: image/x\r\n\r\n" + body)
    assert answer.body == body and answer.header("Content-Length") == str(len(body))


@pytest.mark.parametrize("response", [
    b"", b"no header at all", b"X-One: a\r\n", b"bad header\r\n\r\nx", b"Status: 99\r\n\r\n", b"Status: abc\r\n\r\n",
    b"Status: 600\r\n\r\n", b": empty name\r\n\r\n", b"X: a\x00b\r\nContent-Type: a/b\r\n\r\n", b"\r\n\r\nonly a body",
], ids=repr)  # fmt: skip
def test_malformed_cgi_is_502(cgi, response):
    cgi.http("POST", "/", response).assert_error(502, "bad_answer")


def test_cgi_output_cannot_break_the_framing(system, cgi):
    response = b"Content-Type: text/plain\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nabcdef"
    with system.raw() as raw:
        answer = raw.request("POST", f"/fn/{cgi.name}", response)
        if answer.status == 200:
            assert answer.body == b"abcdef" and answer.header("Transfer-Encoding") is None
            assert answer.header_all("Content-Length") == ["6"]
        else:
            answer.assert_error(502, "bad_answer")
        assert raw.request("GET", "/healthz").status == 200


def test_cgi_function_on_invoke_gives_its_bytes(cgi):
    assert cgi.invoke("Content-Type: text/plain\r\n\r\nx").output == "Content-Type: text/plain\r\n\r\nx"


# --- Lambda style ---------------------------------------------------------------------------------------------------

LAMBDA = {"python": "def handler(event, context):\n    import json\n    body = event.get('body')\n"
                    "    return json.loads(body) if body else event\n",
          "js": "exports.handler = async (event) => event.body ? JSON.parse(event.body) : event;\n"}  # fmt: skip


@pytest.fixture(params=list(LAMBDA))
def lambda_function(system, request):
    return system.shared(LAMBDA[request.param], request.param)


def reply(function, value):
    return function.http("POST", "/", json.dumps(value), {"Content-Type": "application/json"})


def test_lambda_event_is_a_function_url_event(lambda_function):
    answer = lambda_function.http("GET", "/a%20b?x=1&x=2&y=", None, {"X-One": "v", "Cookie": "a=1; b=2"})
    assert answer.status == 200
    event = answer.json
    assert event["version"] == "2.0" and event["rawPath"] in ("/a%20b", "/a b") and event["rawQueryString"] == "x=1&x=2&y="
    assert event["headers"]["x-one"] == "v" and event["cookies"] == ["a=1", "b=2"]
    assert event["queryStringParameters"] == {"x": "1,2", "y": ""}
    http = event["requestContext"]["http"]
    assert (http["method"], http["sourceIp"], http["protocol"]) == ("GET", "127.0.0.1", "HTTP/1.1")
    assert event["isBase64Encoded"] is False
    assert event["headers"]["x-forwarded-prefix"] == f"/fn/{lambda_function.name}"


@pytest.mark.parametrize("lang", LAMBDA)
def test_lambda_event_body(system, lang):
    source = {"python": "def handler(e, c):\n    return [e['body'], e['isBase64Encoded']]\n",
              "js": "exports.handler = async (e) => [e.body, e.isBase64Encoded];\n"}[lang]  # fmt: skip
    function = system.shared(source, lang)
    assert function.http("POST", "/", "grüße").json == ["grüße", False]
    body, encoded = function.http("POST", "/", b"\xff\x00\x80").json
    assert encoded is True and base64.b64decode(body) == b"\xff\x00\x80"


def test_lambda_response(lambda_function):
    answer = reply(lambda_function, {"statusCode": 201, "headers": {"X-One": "a", "Content-Type": "text/html"},
                                     "cookies": ["a=1; Path=/", "b=2"], "body": "<p>ü</p>"})  # fmt: skip
    assert (answer.status, answer.text, answer.header("X-One")) == (201, "<p>ü</p>", "a")
    assert answer.header("Content-Type") == "text/html" and answer.header_all("Set-Cookie") == ["a=1; Path=/", "b=2"]


def test_lambda_response_in_base64(lambda_function):
    answer = reply(lambda_function, {"statusCode": 200, "headers": {"content-type": "image/x"}, "isBase64Encoded": True,
                                     "body": base64.b64encode(bytes(range(256))).decode()})  # fmt: skip
    assert answer.status == 200 and answer.body == bytes(range(256)) and answer.header("Content-Type") == "image/x"


def test_lambda_response_with_status_only(lambda_function):
    answer = reply(lambda_function, {"statusCode": 204})
    assert answer.status == 204 and answer.body == b""
    assert reply(lambda_function, {"statusCode": 404}).status == 404
    assert reply(lambda_function, {"statusCode": 503, "body": "mine"}).text == "mine"


@pytest.mark.parametrize("value", [{"a": [1, "ü"]}, [1, 2], "text", 5, True, 1.5])
def test_any_other_value_is_a_json_body(lambda_function, value):
    answer = reply(lambda_function, value)
    assert answer.status == 200 and answer.header("Content-Type").startswith("application/json")
    assert json.loads(answer.body) == value


@pytest.mark.parametrize("value", [
    {"statusCode": 99}, {"statusCode": 600}, {"statusCode": 101}, {"statusCode": 200, "headers": {"X": "a\r\nY: b"}},
    {"statusCode": 200, "headers": {"X Y": "a"}}, {"statusCode": 200, "cookies": ["a\r\nX: b"]},
], ids=json.dumps)  # fmt: skip
def test_answer_that_makes_no_sense_is_502(lambda_function, value):
    reply(lambda_function, value).assert_error(502, "bad_answer")
    assert reply(lambda_function, "fine").json == "fine"


def test_value_that_is_no_json(system):
    value = system.shared("def handler(e, c):\n    return object()\n", "python").invoke()
    assert value.status in (500, 502), value
    value.assert_error(value.status)
    value = system.shared("exports.handler = async () => { const a = {}; a.a = a; return a; };\n", "js").invoke()
    assert value.status in (500, 502), value
    value.assert_error(value.status)


def test_framing_headers_of_a_function_do_not_break_the_connection(system, lambda_function):
    value = {"statusCode": 200, "body": "abcdef", "headers": {"Content-Length": "3", "Transfer-Encoding": "chunked",
                                                              "Connection": "upgrade"}}  # fmt: skip
    with system.raw() as raw:
        answer = raw.request("POST", f"/fn/{lambda_function.name}", json.dumps(value).encode())
        assert answer.status in (200, 502)
        if answer.status == 200:
            assert answer.body == b"abcdef" and answer.header("Transfer-Encoding") is None
        assert raw.request("GET", "/healthz").status == 200


def test_lambda_context(system):
    py = system.shared("def handler(e, c):\n    return [c.aws_request_id, c.function_name, c.function_version,\n"
                       "            c.get_remaining_time_in_millis(), c.memory_limit_in_mb]\n", "python")  # fmt: skip
    js = system.shared("exports.handler = async (e, c) => [c.awsRequestId, c.functionName, c.functionVersion,\n"
                       "  c.getRemainingTimeInMillis(), c.memoryLimitInMB];\n", "js")  # fmt: skip
    for function in (py, js):
        answer = function.invoke(headers={"X-Call-Id": "abc-1"})
        request_id, name, version, left_ms, memory_mb = json.loads(answer.output)
        assert (request_id, name, str(version), int(memory_mb)) == ("abc-1", function.name, "1", 128)
        assert 0 < left_ms <= 10000


@pytest.mark.parametrize("payload, event", [
    ('{"a": 1}', {"a": 1}), ("[1,2]", [1, 2]), ("5", 5), ('"text"', "text"), ("null", None), ("no json", "no json"),
    ("{broken", "{broken"), ("", None),
])  # fmt: skip
@pytest.mark.parametrize("lang", ["python", "js"])
def test_event_of_an_invoke(system, lang, payload, event):
    source = {"python": "def handler(event, context):\n    return {'got': event}\n",
              "js": "exports.handler = async (event) => ({ got: event === undefined ? null : event });\n"}[lang]  # fmt: skip
    assert json.loads(system.shared(source, lang).invoke(payload).output) == {"got": event}


def test_async_python_handler(system):
    source = "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0)\n    return event\n"
    answer = system.try_deploy(source, "python")
    assert answer.status == 201
    assert faas.Function(system, answer).invoke('"x"').output == '"x"'


# --- Workers style --------------------------------------------------------------------------------------------------

FETCH = r"""
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname === '/status') return new Response('teapot', { status: 418, headers: { 'X-One': 'a' } });
    if (url.pathname === '/cookies') {
      const headers = new Headers();
      headers.append('Set-Cookie', 'a=1');
      headers.append('Set-Cookie', 'b=2');
      return new Response(null, { status: 204, headers });
    }
    if (url.pathname === '/json') return Response.json({ ok: 'ü' });
    if (url.pathname === '/redirect') return Response.redirect('http://example.com/x', 302);
    if (url.pathname === '/bytes') return new Response(new Uint8Array([...Array(256).keys()]));
    if (url.pathname === '/stream') return new Response(new ReadableStream({
      start(c) { c.enqueue(new TextEncoder().encode('a')); c.enqueue(new TextEncoder().encode('b')); c.close(); } }));
    if (url.pathname === '/wait') { ctx.waitUntil(Promise.resolve()); return new Response('waited'); }
    if (url.pathname === '/nothing') return undefined;
    if (url.pathname === '/string') return 'not a response';
    return Response.json({ method: request.method, path: url.pathname, search: url.search,
      one: request.headers.get('x-one'), prefix: request.headers.get('x-forwarded-prefix'), body: await request.text() });
  },
};
"""


@pytest.fixture
def fetch(system):
    return system.shared(FETCH, "js")


def test_fetch_request(fetch):
    answer = fetch.http("PUT", "/a%20b/c?x=1", "grüße", {"X-One": "v"})
    assert answer.json == {"method": "PUT", "path": "/a%20b/c", "search": "?x=1", "one": "v", "body": "grüße",
                           "prefix": f"/fn/{fetch.name}"}  # fmt: skip
    assert fetch.http("GET", "").json["path"] == "/"


def test_fetch_response(fetch):
    answer = fetch.http("GET", "/status")
    assert (answer.status, answer.text, answer.header("X-One")) == (418, "teapot", "a")
    answer = fetch.http("GET", "/cookies")
    assert answer.status == 204 and answer.header_all("Set-Cookie") == ["a=1", "b=2"]
    answer = fetch.http("GET", "/json")
    assert answer.json == {"ok": "ü"}
    answer = fetch.http("GET", "/redirect")
    assert answer.status == 302 and answer.header("Location") == "http://example.com/x"
    assert fetch.http("GET", "/bytes").body == bytes(range(256))
    assert fetch.http("GET", "/stream").text == "ab"
    assert fetch.http("GET", "/wait").text == "waited"


@pytest.mark.parametrize("path", ["/nothing", "/string"])
def test_fetch_that_gives_no_response(fetch, path):
    answer = fetch.http("GET", path)
    assert answer.status in (500, 502), answer
    answer.assert_error(answer.status)


def test_fetch_by_invoke_gets_a_post_to_the_root(fetch):
    value = json.loads(fetch.invoke("pay").output)
    assert (value["method"], value["path"], value["body"]) == ("POST", "/", "pay")


# --- WSGI and ASGI --------------------------------------------------------------------------------------------------

WSGI = r"""
def app(environ, start_response):
    if environ['PATH_INFO'] == '/status':
        start_response('418 Teapot', [('X-One', 'a'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')])
        return [b'tea', b'pot']
    if environ['PATH_INFO'] == '/yield':
        def parts():
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'a'
            yield b'b'
        return parts()
    if environ['PATH_INFO'] == '/raise':
        raise ValueError('on purpose')
    if environ['PATH_INFO'] == '/silent':
        return [b'x']
    names = ('REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'CONTENT_TYPE', 'HTTP_X_ONE', 'wsgi.url_scheme')
    text = '\n'.join(f'{name}={environ.get(name)}' for name in names)
    text += '\nBODY=' + environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'] or 0)).decode()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text.encode()]
"""

ASGI = r"""
async def app(scope, receive, send):
    assert scope['type'] == 'http'
    message = await receive()
    if scope['path'] == '/status':
        headers = [(b'x-one', b'a'), (b'set-cookie', b'a=1'), (b'set-cookie', b'b=2')]
        await send({'type': 'http.response.start', 'status': 418, 'headers': headers})
        await send({'type': 'http.response.body', 'body': b'tea', 'more_body': True})
        await send({'type': 'http.response.body', 'body': b'pot'})
        return
    if scope['path'] == '/raise':
        raise ValueError('on purpose')
    if scope['path'] == '/silent':
        return
    one = dict(scope['headers']).get(b'x-one', b'None').decode()
    text = f"REQUEST_METHOD={scope['method']}\nSCRIPT_NAME={scope['root_path']}\nPATH_INFO={scope['path']}\n" \
           f"QUERY_STRING={scope['query_string'].decode()}\nHTTP_X_ONE={one}\nBODY={message['body'].decode()}"
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': text.encode()})
"""


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def web_app(system, request):
    return system.shared(request.param, "python")


def test_web_app_request(web_app):
    answer = web_app.http("PUT", "/a%20b/c?x=1&y=%20", "grüße", {"X-One": "v", "Content-Type": "text/x"})
    assert answer.status == 200 and answer.header("Content-Type") == "text/plain"
    values = dict(line.split("=", 1) for line in answer.text.splitlines())
    path = values["PATH_INFO"]
    assert path in ("/a b/c", f"/fn/{web_app.name}/a b/c"), path  # ASGI's path may include its root_path
    assert values["REQUEST_METHOD"] == "PUT" and values["SCRIPT_NAME"] == f"/fn/{web_app.name}"
    assert values["QUERY_STRING"] == "x=1&y=%20" and values["HTTP_X_ONE"] == "v" and values["BODY"] == "grüße"


def test_web_app_response(web_app):
    answer = web_app.http("GET", "/status")
    assert (answer.status, answer.text, answer.header("X-One")) == (418, "teapot", "a")
    assert answer.header_all("Set-Cookie") == ["a=1", "b=2"]


def test_web_app_failures(web_app):
    web_app.http("GET", "/raise").assert_error(500, "exception", "on purpose")
    answer = web_app.http("GET", "/silent")
    assert answer.status in (500, 502), answer
    answer.assert_error(answer.status)
    assert web_app.http("GET", "/").status == 200


def test_wsgi_generator(system):
    assert system.shared(WSGI, "python").http("GET", "/yield").text == "ab"


# --- headers of every call ------------------------------------------------------------------------------------------

STYLES = {
    "c": ("c", Path("c/hello.c")), "js": ("js", Path("js/hello.js")), "python": ("python", Path("python/hello.py")),
    "script": ("python", Path("python/hello_script.py")),
}  # fmt: skip


@pytest.mark.parametrize("lang, path", list(STYLES.values()), ids=list(STYLES))
def test_headers_of_a_call(system, lang, path):
    function = system.shared(path, lang)
    for answer in (function.invoke(), function.http("GET")):
        assert answer.status == 200
        assert re.fullmatch(r"[A-Za-z0-9_-]{8,128}", answer.header("X-Call-Id"))
        assert answer.header("X-Function-Name") == function.name and answer.header("X-Function-Version") == "1"
        assert answer.header("X-Cold-Start") in ("true", "false")
        timing = r"queue;dur=\d+(\.\d+)?, start;dur=\d+(\.\d+)?, run;dur=\d+(\.\d+)?"
        assert re.fullmatch(timing, answer.header("Server-Timing")), answer.header("Server-Timing")


def test_headers_of_a_failed_call(system):
    function = system.shared("def handler(e, c):\n    raise ValueError('x')\n", "python")
    answer = function.invoke(headers={"X-Call-Id": "mine-1"})
    answer.assert_error(500, "exception")
    assert answer.header("X-Call-Id") == "mine-1" and answer.header("X-Function-Name") == function.name
    assert answer.header("Server-Timing") and answer.header("X-Cold-Start")


@pytest.mark.parametrize("call_id", ["a", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "abc_DEF-123.45", "x" * 64])
def test_own_call_id_is_kept(system, call_id):
    answer = system.shared(Path("c/hello.c"), "c").invoke(headers={"X-Call-Id": call_id})
    assert answer.header_all("X-Call-Id") == [call_id]


@pytest.mark.parametrize("call_id", ["", "a b", "x" * 1000, 'a"b', "a\\b", "<script>", "a\tb", "\xe9", "a,b;c=d"], ids=ascii)
def test_insane_call_id_is_replaced(system, call_id):
    answer = system.shared(Path("c/hello.c"), "c").invoke(headers={"X-Call-Id": call_id})
    assert answer.status == 200 and answer.header("X-Call-Id") not in ("", None, call_id)


def test_call_ids_differ(system):
    function = system.shared(Path("c/hello.c"), "c")
    assert len({function.invoke().header("X-Call-Id") for _ in range(50)}) == 50


@pytest.mark.parametrize("lang, path", [("js", Path("js/hello.js")), ("python", Path("python/hello.py"))])
def test_first_call_of_a_process_is_a_cold_start(system, lang, path):
    function = system.deploy(path, lang, concurrency=1)
    assert [function.invoke().header("X-Cold-Start") for _ in range(3)] == ["true", "false", "false"]


def test_run_time_is_that_of_the_function(system):
    source = "import time\ndef handler(e, c):\n    time.sleep(0.2)\n    return 1\n"
    timing = system.shared(source, "python").invoke().header("Server-Timing")
    assert 195 <= float(re.search(r"run;dur=([\d.]+)", timing)[1]) < 2000

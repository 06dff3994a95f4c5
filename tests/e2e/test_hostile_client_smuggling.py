"""Request smuggling and injection: what two programs could read in two ways is refused, and nothing behind it is served."""

import json
import re
from pathlib import Path

import pytest

import faas

# What an attacker wants to be served as a request of its own.
SMUGGLED = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def statuses(raw):
    """Of all answers that come until the other side closes; bodies are read by their length."""
    found = []
    while True:
        try:
            line = raw.file.readline()
        except ConnectionResetError:
            return found
        if not line:
            return found
        status = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n", line)
        assert status, (found, line)
        length = 0
        while (line := raw.file.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        raw.file.read(length)
        found.append(int(status[1]))


def post(*headers, body="", line="POST /healthz HTTP/1.1"):
    return "\r\n".join([line, "Host: x", *headers]) + "\r\n\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"
REFUSED = {
    # two lengths
    "content-length twice, the same": post("Content-Length: 3", "Content-Length: 3", body="abc"),
    "content-length twice, different": post("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"),
    "content-length as a list": post("Content-Length: 3, 3", body="abc"),
    "content-length as a list of two": post("Content-Length: 0,3", body="abc"),
    "content-length in another case, twice": post("Content-Length: 0", "cOnTeNt-LeNgTh: 3", body="abc"),
    # length and coding
    "length, then chunked": post("Content-Length: 5", CHUNKED, body="0\r\n\r\n"),
    "chunked, then length": post(CHUNKED, "Content-Length: 5", body="0\r\n\r\n"),
    "chunked, and a length of zero": post(CHUNKED, "Content-Length: 0", body="0\r\n\r\n"),
    # obfuscated codings
    "chunked twice in one": post("Transfer-Encoding: chunked, chunked", body="0\r\n\r\n"),
    "chunked twice in two": post(CHUNKED, CHUNKED, body="0\r\n\r\n"),
    "chunked and identity": post(CHUNKED, "Transfer-Encoding: identity", body="0\r\n\r\n"),
    "identity": post("Transfer-Encoding: identity", "Content-Length: 0"),
    "xchunked": post("Transfer-Encoding: xchunked", body="0\r\n\r\n"),
    "chunked with something behind": post("Transfer-Encoding: chunked;q=1", body="0\r\n\r\n"),
    "chunked with a vertical tab": post("Transfer-Encoding: \x0bchunked", body="0\r\n\r\n"),
    "chunked in quotes": post('Transfer-Encoding: "chunked"', body="0\r\n\r\n"),
    "chunked, misspelt with a NUL": post("Transfer-Encoding: chunked\x00", body="0\r\n\r\n"),
    "chunked and a comma": post("Transfer-Encoding: chunked,", body="0\r\n\r\n"),
    "empty coding": post("Transfer-Encoding:", "Content-Length: 0"),
    "gzip before chunked": post("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"),
    "coding on a folded line": post("Transfer-Encoding:\r\n chunked", body="0\r\n\r\n"),
    "coding folded with a tab": post("X: y\r\n\tTransfer-Encoding: chunked", body="0\r\n\r\n"),
    "space before the colon of the coding": post("Transfer-Encoding : chunked", body="0\r\n\r\n"),
    "space before the colon of the length": post("Content-Length : 3", body="abc"),
    "tab before the colon": post("Content-Length\t: 3", body="abc"),
    "space in front of a header": post(" Content-Length: 3", body="abc"),
    "space in front of the first header": "POST /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
    "chunked in HTTP/1.0": "POST /healthz HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # line ends
    "bare LF behind the request line": "POST /healthz HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF behind a header": "POST /healthz HTTP/1.1\r\nHost: x\nContent-Length: 3\r\n\r\nabc",
    "bare LF at the end of the head": "POST /healthz HTTP/1.1\r\nHost: x\r\nX: y\n\nabc",
    "bare CR in a header": post("X: y\rContent-Length: 3", body="abc"),
    "bare CR at the end of the head": "POST /healthz HTTP/1.1\r\nHost: x\r\n\rX",
    "CR CR LF": "POST /healthz HTTP/1.1\r\nHost: x\r\r\nX: y\r\n\r\n",
    "NUL in a value": post("X: a\x00b"),
    "NUL in a name": post("X\x00Y: a"),
    "DEL in a value": post("X: a\x7fb"),
    "escape in a value": post("X: a\x1bb"),
    "no name": post(": y"),
    "high byte in a name": post("X\xff: y"),
    "name in brackets": post("X(y): z"),
    # lengths that are none
    "length with a plus": post("Content-Length: +3", body="abc"),
    "length below zero": post("Content-Length: -1", body="abc"),
    "length in hex": post("Content-Length: 0x3", body="abc"),
    "length with a point": post("Content-Length: 3.0", body="abc"),
    "length with blanks inside": post("Content-Length: 1 1", body="hello world"),
    "empty length": post("Content-Length:", body="abc"),
    "length beyond 64 bits": post("Content-Length: 18446744073709551617", body="a"),
    "length beyond everything": post("Content-Length: " + "9" * 400, body="a"),
    "length with a tab behind it": post("Content-Length: 3\t", body="abc"),
    "trailer that looks like framing": post(CHUNKED, body="0\r\nContent-Length: 50\r\n\r\n"),
    "length in other digits": post("Content-Length: \xb3", body="abc"),
    # chunks
    "chunk size beyond 64 bits": post(CHUNKED, body="10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "chunk size of all ones": post(CHUNKED, body="ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    "chunk size below zero": post(CHUNKED, body="-1\r\nabc\r\n0\r\n\r\n"),
    "chunk size with 0x": post(CHUNKED, body="0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with a plus": post(CHUNKED, body="+3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with a blank in front": post(CHUNKED, body=" 3\r\nabc\r\n0\r\n\r\n"),
    "no chunk size": post(CHUNKED, body="\r\nabc\r\n0\r\n\r\n"),
    "bare LF behind a chunk size": post(CHUNKED, body="3\nabc\r\n0\r\n\r\n"),
    "bare LF behind a chunk": post(CHUNKED, body="3\r\nabc\n0\r\n\r\n"),
    "nothing behind a chunk": post(CHUNKED, body="3\r\nabc0\r\n\r\n"),
    "bare LF in an extension": post(CHUNKED, body="3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "NUL in an extension": post(CHUNKED, body="3;a=\x00\r\nabc\r\n0\r\n\r\n"),
    "extensions without end": post(CHUNKED, body="".join(f"1;{'x' * 4000}\r\na\r\n" for _ in range(60)) + "0\r\n\r\n"),
    "trailers without end": post(CHUNKED, body="0\r\n" + "".join(f"T{i}: x\r\n" for i in range(3000)) + "\r\n"),
    "trailer with a bare LF": post(CHUNKED, body="0\r\nX: y\n\r\n"),
    "trailer without a colon": post(CHUNKED, body="0\r\nxy\r\n\r\n"),
    # request lines
    "HTTP/0.9": "GET /healthz\r\n\r\n",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": "GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/1.10": "GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n",
    "HTTP/01.1": "GET /healthz HTTP/01.1\r\nHost: x\r\n\r\n",
    "http in lower case": "GET /healthz http/1.1\r\nHost: x\r\n\r\n",
    "another protocol": "GET /healthz RTSP/1.0\r\nHost: x\r\n\r\n",
    "two blanks": "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab": "GET\t/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank behind the line": "GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n",
    "blank before the line": " GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "method in lower case": "get /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "method that nobody knows": "SMUGGLE /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "method that goes on": "GETGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "target without a slash": "GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment": "GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the target": "GET /health\x00z HTTP/1.1\r\nHost: x\r\n\r\n",
    "high byte in the target": "GET /health\xffz HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk for GET": "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "another scheme": "GET ftp://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    # hosts
    "no host": "GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "host with a path": "GET /healthz HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "host with somebody": "GET /healthz HTTP/1.1\r\nHost: a@x\r\n\r\n",
    "host with a blank": "GET /healthz HTTP/1.1\r\nHost: x y\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("attack", list(REFUSED.values()), ids=list(REFUSED))
def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(system, attack):
    with system.raw() as raw:
        raw.send(attack + SMUGGLED)
        found = statuses(raw)
        assert len(found) == 1 and found[0] in (400, 405, 413, 414, 431, 501, 505), found
    assert system.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("cut", [1, 7, 64])
def test_the_same_in_pieces(system, cut):
    """What is refused whole is refused in pieces, too."""
    for name, attack in list(REFUSED.items())[cut % 3 :: 3]:
        data = (attack + SMUGGLED).encode("latin-1")
        if len(data) > 2000:
            continue
        with system.raw() as raw:
            try:
                for at in range(0, len(data), cut):
                    raw.send(data[at : at + cut])
            except OSError:
                pass  # refused already
            found = statuses(raw)
            assert len(found) == 1 and found[0] >= 400, (name, found)


ACCEPTED = {
    "length of zero": (post("Content-Length: 0"), 405),
    "leading zeros": (post("Content-Length: 0003", body="abc"), 405),
    "blanks around a value": (post("Content-Length:   3  ", body="abc"), 405),
    "coding in another case": (post("transfer-encoding: CHUNKED", body="0\r\n\r\n"), 405),
    "extension": (post(CHUNKED, body="3;a=b;c\r\nabc\r\n0;d\r\n\r\n"), 405),
    "empty line before the request": ("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "absolute form": ("GET http://elsewhere:99/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "upgrade to websocket": (post("Connection: Upgrade", "Upgrade: websocket", line="GET /healthz HTTP/1.1"), 200),
    "upgrade to h2c": (post("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk",
                            line="GET /healthz HTTP/1.1"), 200),
    "upgrade with a body": (post("Connection: Upgrade", "Upgrade: x", "Content-Length: 3", body="abc"), 405),
    "upgrade with chunks": (post("Connection: Upgrade", "Upgrade: x", CHUNKED, body="3\r\nabc\r\n0\r\n\r\n"), 405),
    "GET with a body": (post("Content-Length: 3", line="GET /healthz HTTP/1.1", body="abc"), 200),
    "body that is a request": (post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED), 405),
}  # fmt: skip


@pytest.mark.parametrize("request_text, status", list(ACCEPTED.values()), ids=list(ACCEPTED))
def test_what_is_odd_but_clear_is_one_request(system, request_text, status):
    last = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with system.raw() as raw:
        raw.send(request_text + last)
        assert statuses(raw) == [status, 200]


def test_garbage_behind_good_requests_costs_only_itself(system):
    with system.raw() as raw:
        raw.send(SMUGGLED * 50 + "\x00\xff garbage\r\n\r\n" + SMUGGLED)
        assert statuses(raw) == [200] * 50 + [400]


def test_absolute_form_wins_over_the_host_header_and_is_no_way_to_elsewhere(system):
    with system.raw() as raw:
        raw.send("GET http://a@b:1/fn/../healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.answer().assert_error(404)
    with system.raw() as raw:
        raw.send("GET http:///healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.answer().status in (200, 400)


# --- what a function answers must not become another answer -------------------------------------------------------


CGI = r"""
#include <stdio.h>
#include <unistd.h>
static char in[4096];
int main(void) { long n = read(0, in, sizeof in); fwrite(in, 1, n > 0 ? n : 0, stdout); return 0; }
"""
INJECTED = {
    "bare CR": b"Content-Type: a/b\r\nX: 1\rSet-Cookie: a=b\r\n\r\nbody",
    "NUL in a name": b"Content-Type: a/b\r\nX\0Set-Cookie: a=b\r\n\r\nbody",
    "NUL in a value": b"Content-Type: a/b\r\nX: a\0b\r\n\r\nbody",
    "blank in a name": b"Content-Type: a/b\r\nSet Cookie: b\r\n\r\nbody",
    "blank before the colon": b"Content-Type: a/b\r\nContent-Length : 1\r\n\r\nbody",
    "folded line": b"Content-Type: a/b\r\n X: y\r\n\r\nbody",
    "no name": b"Content-Type: a/b\r\n: y\r\n\r\nbody",
    "CR in the status": b"Status: 200\rX: y\r\nContent-Type: a/b\r\n\r\nbody",
    "status of its own line": b"Status: 999\r\nContent-Type: a/b\r\n\r\nbody",
    "no end": b"Content-Type: a/b\r\nX: y",
}


@pytest.mark.parametrize("output", list(INJECTED.values()), ids=list(INJECTED))
def test_cgi_answer_that_would_split_is_refused(system, output):
    function = system.shared(CGI, "c", http="cgi")
    answer = function.http("POST", body=output)
    answer.assert_error(502, "bad_answer")
    assert answer.header("Set-Cookie") is None


def test_cgi_answer_cannot_set_the_framing(system):
    function = system.shared(CGI, "c", http="cgi")
    output = (b"Status: 200 OK\r\nContent-Type: a/b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
              b"Connection: close\r\nKeep-Alive: x\r\nUpgrade: h2c\r\nX-Call-Id: forged\r\n\r\nbody" + SMUGGLED.encode())
    with system.raw() as raw:
        for _ in range(2):
            answer = raw.request("POST", f"/fn/{function.name}", output)
            assert answer.status == 200 and answer.body == b"body" + SMUGGLED.encode()
            for name in ("Transfer-Encoding", "Keep-Alive", "Upgrade"):
                assert answer.header(name) is None
            assert len(answer.header_all("Content-Length")) == 1 and answer.header("X-Call-Id") != "forged"


SPLITTERS = {
    "js": """export default {fetch() {
        const headers = new Headers({"x-ok": "1"});
        for (const [name, value] of JSON.parse(HEADERS)) headers.append(name, value);
        return new Response("body", {headers}); }};""",
    "python": """
def handler(event, context):
    return {"statusCode": 200, "headers": dict(HEADERS), "body": "body"}
""",
}
BAD_HEADERS = [["x", "a\r\nSet-Cookie: b=c"], ["x", "a\nSet-Cookie: b=c"], ["x\r\nSet-Cookie", "b"], ["x", "a\u0000b"],
               ["x y", "b"], ["", "b"], ["x:", "b"], ["x", "a\rb"]]  # fmt: skip


@pytest.mark.parametrize("lang", list(SPLITTERS))
@pytest.mark.parametrize("header", BAD_HEADERS, ids=[repr(h) for h in BAD_HEADERS])
def test_header_of_a_handler_cannot_split_the_answer(system, lang, header):
    text = json.dumps([header])
    source = SPLITTERS[lang].replace("HEADERS", json.dumps(text) if lang == "js" else text)
    function = system.shared(source, lang)
    with system.raw() as raw:
        answer = raw.request("GET", f"/fn/{function.name}/")
        assert answer.status in (500, 502), answer
        assert answer.header("Set-Cookie") is None
        assert raw.request("GET", "/healthz").status == 200


def test_names_that_the_caller_chooses_come_back_clean(system):
    """X-Call-Id and what an error says about a name."""
    hello = system.shared(Path("c/hello.c"), "c")
    for sent in ("a b", "x" * 65, "a\tb", "\xe4", "a;b", 'a"b', "<a>"):
        answer = hello.http(headers={"X-Call-Id": sent})
        assert answer.status == 200 and answer.header("X-Call-Id") != sent
    assert hello.http(headers={"X-Call-Id": "a.b-c:d_1"}).header("X-Call-Id") == "a.b-c:d_1"
    for path in ("/invoke?fn=%0d%0aX-Evil:%201", "/invoke?fn=%22%7d%00", '/invoke?fn="<script>', "/fn/%0d%0aX-Evil:1"):
        answer = system.request("POST", path, "")
        assert answer.status in (400, 404) and answer.header("X-Evil") is None and answer.json["ok"] is False

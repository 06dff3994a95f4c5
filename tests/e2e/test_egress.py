"""allow=host:port,…: what a JavaScript or Python function may connect to, and that it reaches nothing else.

All traffic goes to listeners of the test on loopback, which a list has to name. Names come from a file of the test's own.
"""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import faas

# Run what they are sent: what it prints, or the value of `result`, comes back.
PYTHON = r'''
import asyncio, ctypes, errno, json, os, select, socket, ssl, struct, threading, time, urllib.request
def error_of(function):
    try:
        return function()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
def connect(address, family=None, timeout=5):
    family = family or (socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        s.connect(address)
        s.sendall(b"x")
        return s.recv(1).decode()
def handler(event, context):
    scope = dict(globals())
    exec(event, scope)
    return scope["result"]
'''
JS = r'''
const AsyncFunction = (async () => {}).constructor;
exports.handler = (event) => new AsyncFunction("require", event)(require);
'''
REFUSED = "EACCES"
# What a function without a network may be told of its attempts.
NOTHING = ("ENETUNREACH", "EACCES", "EPERM", "EAFNOSUPPORT")


class Listener:
    """Accepts, counts, and answers: an HTTP request with 200, any other byte with itself."""

    def __init__(self, address="127.0.0.1", context=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, 0))
        self.socket.listen(256)
        self.address, self.port = address, self.socket.getsockname()[1]
        self.host = f"[{address}]" if ":" in address else address
        self.entry = f"{self.host}:{self.port}"
        self.url = f"http://{self.entry}/"
        self.context, self.accepted, self.open = context, 0, []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.accepted += 1
                self.open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            while data := connection.recv(4096):
                if data.startswith(b"GET "):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
                    return
                connection.sendall(data)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.open:
            connection.close()


@pytest.fixture
def listen():
    made = []

    def start(*args, **options):
        made.append(Listener(*args, **options))
        return made[-1]

    yield start
    for listener in made:
        listener.close()


@pytest.fixture(scope="module")
def hosts_system():
    instance = faas.System(FAAS_EGRESS_HOSTS="")
    instance.hosts = instance.home / "hosts"
    instance.hosts.write_text(
        "127.0.0.1 api.test.example db.test.example\n"
        "::1 six.test.example\n"
        "127.0.0.1 two.test.example\n::1 two.test.example # and another\n127.0.0.2 two.test.example\n"
    )
    instance.env["FAAS_EGRESS_HOSTS"] = instance.hosts
    try:
        instance.start()
        yield instance
        instance.stop()
    finally:
        instance.remove()


@pytest.fixture
def net(hosts_system):
    before = hosts_system.platform_pids()
    yield hosts_system
    assert hosts_system.platform_pids() == before, f"a part died\n{hosts_system.tail()}"


def deploy(system, lang, *allow, **params):
    return system.deploy({"python": PYTHON, "js": JS}[lang], lang, allow=",".join(allow), **params)


def run(function, code):
    answer = function.invoke(json.dumps(code))
    assert answer.status == 200, answer
    return json.loads(answer.output)


def log_of(function):
    path = function.system.log_dir / "functions" / f"{function.name}.log"
    return path.read_text() if path.exists() else ""


def wait_log(function, text):
    faas.wait_until(lambda: text in log_of(function), 10, lambda: f"{text!r} in the log:\n{log_of(function)}")


# --- what is allowed -------------------------------------------------------------------------------------------------

PYTHON_WAYS = {
    "urllib": "result = urllib.request.urlopen('http://HOST:PORT/', timeout=5).read().decode()",
    "socket": "result = connect(('HOST', PORT)) and 'hello'",
    "blocking": """
s = socket.socket(); s.connect(('HOST', PORT)); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
result = s.makefile('rb').read()[-5:].decode()
assert s.getblocking() and s.getpeername() == ('127.0.0.1', PORT)
""",
    "nonblocking": """
s = socket.socket(); s.setblocking(False); fd = s.fileno()
assert s.connect_ex(('HOST', PORT)) in (0, errno.EINPROGRESS)
_, writable, _ = select.select([], [s], [], 5)
assert writable and s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and s.fileno() == fd
assert not s.getblocking() and not os.get_inheritable(fd)
s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); s.setblocking(True)
result = s.makefile('rb').read()[-5:].decode()
""",
    "asyncio": """
async def ask():
    reader, writer = await asyncio.open_connection('HOST', PORT)
    writer.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    return (await reader.read())[-5:].decode()
result = asyncio.run(ask())
""",
    "options": """
s = socket.socket(); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
size = s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF); os.set_inheritable(s.fileno(), True)
s.connect(('HOST', PORT))
assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) and s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == size and os.get_inheritable(s.fileno())
result = 'hello'
""",
    "thread": """
got = []
t = threading.Thread(target=lambda: got.append(connect(('HOST', PORT)))); t.start(); t.join()
result = got == ['x'] and 'hello'
""",
}
JS_WAYS = {
    "fetch": "return await (await fetch('http://HOST:PORT/')).text();",
    "http": """
return await new Promise((done, fail) => require('http').get('http://HOST:PORT/', (answer) => {
  let text = ''; answer.on('data', (data) => (text += data)); answer.on('end', () => done(text)); }).on('error', fail));
""",
    "net": """
return await new Promise((done, fail) => { const s = require('net').connect(PORT, 'HOST');
  let text = ''; s.on('connect', () => { s.setNoDelay(true); s.write('GET / HTTP/1.0\\r\\n\\r\\n'); });
  s.on('data', (data) => (text += data)); s.on('close', () => done(text.slice(-5))); s.on('error', fail); });
""",
    "many": """
const all = await Promise.all(Array.from({ length: 30 }, async () => (await fetch('http://HOST:PORT/')).text()));
return all.every((text) => text === 'hello') && 'hello';
""",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "api.test.example"])
@pytest.mark.parametrize("lang", ["python", "js"])
def test_every_way_to_connect_reaches_what_is_allowed(net, listen, lang, host):
    listener = listen()
    function = deploy(net, lang, f"{host}:{listener.port}", listener.entry)
    for way, code in (PYTHON_WAYS if lang == "python" else JS_WAYS).items():
        code = code.replace("HOST", host).replace("PORT", str(listener.port))
        assert run(function, code) == "hello", way
    assert listener.accepted >= len(PYTHON_WAYS if lang == "python" else JS_WAYS)
    assert "refused" not in log_of(function)


def test_ipv6_by_address_and_by_name(net, listen):
    listener = listen("::1")
    function = deploy(net, "python", listener.entry, f"six.test.example:{listener.port}")
    assert run(function, f"result = connect(('::1', {listener.port}))") == "x"
    assert run(function, f"s = socket.create_connection(('six.test.example', {listener.port}))\n"
                         "result = s.getpeername()[0]") == "::1"  # fmt: skip
    script = deploy(net, "js", listener.entry, f"six.test.example:{listener.port}")
    for host in ("[::1]", "six.test.example"):
        assert run(script, f"return (await fetch('http://{host}:{listener.port}/')).status;") == 200


def test_a_mapped_address_is_the_one_it_maps(net, listen):
    listener = listen()
    function = deploy(net, "python", listener.entry)
    code = f"""
with socket.socket(socket.AF_INET6) as s:
    s.connect(('::ffff:127.0.0.1', {listener.port}))
    result = s.getpeername()[0]
"""
    assert run(function, code) == "::ffff:127.0.0.1"


def test_of_a_names_addresses_the_next_is_tried(net, listen):
    listener = listen("127.0.0.2")  # and nobody listens on that port of 127.0.0.1
    function = deploy(net, "python", f"two.test.example:{listener.port}", f"127.0.0.0/8:{listener.port}")
    code = f"result = socket.create_connection(('two.test.example', {listener.port}), 5).getpeername()[0]"
    assert run(function, code) == "127.0.0.2"
    script = deploy(net, "js", f"two.test.example:{listener.port}", f"127.0.0.0/8:{listener.port}")
    code = f"return (await require('dns').promises.lookup('two.test.example', {{ all: true }})).map((a) => a.family);"
    assert sorted(run(script, code)) == [4, 4, 6]


def test_any_port_networks_and_names_below(net, listen):
    one, two = listen(), listen("127.0.0.2")
    function = deploy(net, "python", "*.test.example:*", "127.0.0.0/8:*")
    for host, port in (("api.test.example", one.port), ("db.test.example", one.port), ("127.0.0.2", two.port)):
        assert run(function, f"result = connect(('{host}', {port}))") == "x", host


def test_a_refused_port_is_what_the_kernel_says(net):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        function = deploy(net, "python", f"127.0.0.1:{port}")
        assert run(function, f"result = error_of(lambda: connect(('127.0.0.1', {port})))") == "ECONNREFUSED"
        script = deploy(net, "js", f"127.0.0.1:{port}")
        assert run(script, f"return await fetch('http://127.0.0.1:{port}/').catch((e) => e.cause.code);") == "ECONNREFUSED"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
@pytest.mark.parametrize("lang", ["python", "js"])
def test_tls_sees_the_name(net, listen, lang, tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "cert", "-subj",
         "/CN=api.test.example", "-addext", "subjectAltName=DNS:api.test.example"],
        cwd=tmp_path, check=True, capture_output=True)  # fmt: skip
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    context.sni_callback = lambda connection, name, _: names.append(name)
    listener = listen(context=context)
    function = deploy(net, lang, f"api.test.example:{listener.port}", listener.entry)
    cert = json.dumps((tmp_path / "cert").read_text())
    if lang == "python":
        code = (f"context = ssl.create_default_context(cadata={cert})\n"
                f"result = urllib.request.urlopen('https://api.test.example:{listener.port}/', context=context).status")  # fmt: skip
    else:
        code = (f"return await new Promise((done, fail) => require('https').get({{ host: 'api.test.example', "
                f"port: {listener.port}, ca: {cert} }}, (answer) => done(answer.statusCode)).on('error', fail));")
    assert run(function, code) == 200
    assert names == ["api.test.example"]


def test_certificates_are_there_for_those_who_may_connect_only(net, listen):
    if not Path("/etc/ssl/certs").is_dir():
        pytest.skip("this machine has no /etc/ssl/certs")
    code = "result = [len(os.listdir(p)) if os.path.isdir(p) else 0 for p in ('/etc/ssl/certs', '/etc/ssl/private')]"
    assert run(deploy(net, "python", listen().entry), code) == [len(os.listdir("/etc/ssl/certs")), 0]
    assert run(deploy(net, "python"), code) == [0, 0]


@pytest.mark.parametrize("lang,params", [("python", {"isolation": "call"}), ("js", {"isolation": "call"})])
def test_a_process_for_every_call_connects_too(net, listen, lang, params):
    listener = listen()
    function = deploy(net, lang, listener.entry, **params)
    code = {"python": PYTHON_WAYS["urllib"], "js": JS_WAYS["fetch"]}[lang]
    for _ in range(3):
        assert run(function, code.replace("HOST", "127.0.0.1").replace("PORT", str(listener.port))) == "hello"


def test_a_plain_script_connects_too(net, listen):
    listener = listen()
    source = f"import urllib.request\nprint(urllib.request.urlopen('{listener.url}').read().decode())\n"
    assert net.deploy(source, "python", allow=listener.entry).invoke().output == "hello\n"


# --- what is not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["python", "js"])
def test_without_a_list_there_is_nothing(net, listen, lang):
    listener = listen()
    function = deploy(net, lang)
    assert function.describe()["allow"] == []
    if lang == "python":
        assert run(function, f"result = error_of(lambda: connect(('127.0.0.1', {listener.port})))") in NOTHING
        assert run(function, "result = error_of(lambda: socket.getaddrinfo('api.test.example', 80))") != "OK"
    else:
        code = f"return await fetch('{listener.url}').then(() => 'OK', (e) => e.cause.code);"
        assert run(function, code) in NOTHING
    assert listener.accepted == 0


@pytest.mark.parametrize("lang", ["python", "js"])
def test_what_is_not_in_the_list_is_refused_and_logged(net, listen, lang):
    allowed, other = listen(), listen()
    second, six = listen("127.0.0.2"), listen("::1")
    function = deploy(net, lang, allowed.entry)
    for listener in (other, second, six):
        if lang == "python":
            code = f"result = error_of(lambda: connect(('{listener.address}', {listener.port})))"
        else:
            code = f"return await fetch('{listener.url}').then(() => 'OK', (e) => e.cause.code);"
        assert run(function, code) == REFUSED
        wait_log(function, f"network: connect to {listener.entry} refused: loopback address, not in allow=")
        assert listener.accepted == 0
    assert "stderr network: " in log_of(function)


@pytest.mark.parametrize("lang", ["python", "js"])
def test_a_name_that_is_not_in_the_list_is_not_found_and_logged(net, listen, lang):
    function = deploy(net, lang, f"api.test.example:{listen().port}")
    if lang == "python":
        code = ("try:\n    result = socket.getaddrinfo('db.test.example', 80)\n"
                "except socket.gaierror as error:\n    result = error.errno == socket.EAI_NONAME")  # fmt: skip
        assert run(function, code) is True
    else:
        code = "return await fetch('http://db.test.example/').then(() => 'OK', (e) => e.cause.code);"
        assert run(function, code) == "ENOTFOUND"
    wait_log(function, "network: lookup of db.test.example refused: not in allow=")


def test_a_name_does_not_name_the_private_address_it_leads_to(net, listen):
    listener, other = listen(), listen()
    function = deploy(net, "python", f"api.test.example:{listener.port}", other.entry)
    assert run(function, f"result = error_of(lambda: connect(('api.test.example', {listener.port})))") == REFUSED
    wait_log(function, f"connect to api.test.example:{listener.port} (127.0.0.1) refused: loopback address, not in allow=")
    # Nor does a name open the port of an address that is in the list.
    assert run(function, f"result = error_of(lambda: connect(('api.test.example', {other.port})))") == REFUSED
    wait_log(function, f"connect to api.test.example:{other.port} (127.0.0.1) refused: not in allow=")
    assert (listener.accepted, other.accepted) == (0, 0)


def test_the_gateway_is_out_of_reach_by_every_spelling(net, listen):
    port = net.address[1]
    function = deploy(net, "python", "127.0.0.0/8:*", "[::1]:*", "*.test.example:*", "*:*")
    spellings = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1",
                 "0.0.0.0", "::", "::ffff:0.0.0.0", "localhost", "api.test.example", "six.test.example",
                 "two.test.example"]  # fmt: skip
    for host in spellings:
        code = f"result = error_of(lambda: socket.create_connection(('{host}', {port}), 5).close())"
        assert run(function, code) == REFUSED, host
    wait_log(function, f"network: connect to 127.0.0.1:{port} refused: the platform's own socket")
    script = deploy(net, "js", "127.0.0.0/8:*", "[::1]:*", "api.test.example:*")
    for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "api.test.example"):
        code = f"return await fetch('http://{host}:{port}/healthz').then(() => 'OK', (e) => e.cause.code);"
        assert run(script, code) == REFUSED, host


def test_unix_sockets_are_out_of_reach(net, listen):
    function = deploy(net, "python", listen().entry)
    paths = [str(path) for path in net.run_dir.glob("*.sock")] + ["\0anything"]
    assert len(paths) >= 3
    code = f"""
result = []
for path in {paths!r}:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as s:
            result.append(error_of(lambda: s.connect(path)))
"""
    assert set(run(function, code)) == {REFUSED}
    wait_log(function, "network: connect to a UNIX socket refused: only TCP")


def test_udp_goes_nowhere(net, listen):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        port = receiver.getsockname()[1]
        function = deploy(net, "python", f"127.0.0.1:{port}", listen().entry)
        code = f"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
result = [error_of(lambda: s.sendto(b'x', ('127.0.0.1', {port}))), error_of(lambda: s.connect(('127.0.0.1', {port})))]
s.sendmsg([b'x'], [], 0, ('127.0.0.1', {port}))
"""
        assert run(function, code) == [REFUSED, REFUSED]
        wait_log(function, f"network: UDP to 127.0.0.1:{port} refused: only TCP")
        with pytest.raises(BlockingIOError):
            receiver.recv(1)


def test_a_connected_socket_cannot_be_turned_into_another(net, listen):
    """It belongs to the network of the host: nothing but its own connection may be had from it."""
    allowed, other = listen(), listen()
    function = deploy(net, "python", allowed.entry)
    code = f"""
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    return 'OK' if getattr(libc, name)(*args) >= 0 else errno.errorcode[ctypes.get_errno()]
def name_of(port):
    return struct.pack('=HH4s8x', socket.AF_INET, socket.htons(port), socket.inet_aton('127.0.0.1'))
def fresh():
    s = socket.socket(); s.connect(('127.0.0.1', {allowed.port})); return s
result = {{}}
s = fresh()
result['again'] = call('connect', s.fileno(), name_of({other.port}), 16)
result['unspec'] = call('connect', s.fileno(), struct.pack('=H14x', socket.AF_UNSPEC), 16)
result['after unspec'] = call('connect', s.fileno(), name_of({other.port}), 16)
s = fresh(); s.shutdown(socket.SHUT_RDWR)
result['after shutdown'] = call('connect', s.fileno(), name_of({other.port}), 16)
result['fast open'] = call('sendto', s.fileno(), b'x', 1, 0x20000000, name_of({other.port}), 16)
result['fast open new'] = call('sendto', socket.socket().fileno(), b'x', 1, 0x20000000, name_of({other.port}), 16)
result['sendmsg'] = error_of(lambda: fresh().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', {other.port})))
result['fast open option'] = error_of(lambda: fresh().setsockopt(socket.IPPROTO_TCP, 30, 1))
result['source route'] = error_of(lambda: fresh().setsockopt(socket.IPPROTO_IP, 4, b'\\x83\\x07\\x04\\x7f\\x00\\x00\\x01\\x00'))
result['device'] = error_of(lambda: fresh().setsockopt(socket.SOL_SOCKET, 25, b'lo'))
result['bind'] = error_of(lambda: socket.socket().bind(('127.0.0.1', 0)))
result['listen'] = error_of(lambda: fresh().listen())
result['accept'] = call('accept', fresh().fileno(), None, None)
result['interfaces'] = call('ioctl', fresh().fileno(), 0x8912, ctypes.create_string_buffer(64))
result['io_uring'] = call('syscall', 425, 8, ctypes.create_string_buffer(120))
result['packet'] = error_of(lambda: socket.socket(17, socket.SOCK_RAW).close())
result['vsock'] = error_of(lambda: socket.socket(40, socket.SOCK_STREAM).close())
"""
    result = run(function, code)
    assert {key: value for key, value in result.items() if value in (None, "OK")} == {}
    assert result["again"] == "EISCONN" and result["fast open"] == result["sendmsg"]
    assert result["sendmsg"] in ("EOPNOTSUPP", "ENOTSUP")  # two names of one number
    assert result["after shutdown"] in (REFUSED, "EISCONN")
    assert result["bind"] == result["listen"] == result["accept"] == REFUSED
    assert other.accepted == 0


def test_what_the_function_writes_after_it_asked_makes_no_difference(net, listen):
    """A thread changes the address while connect runs: what was looked at is what is connected to."""
    allowed, other = listen(), listen()
    function = deploy(net, "python", allowed.entry, timeout_ms=30000)
    code = f"""
libc = ctypes.CDLL(None, use_errno=True)
good = struct.pack('=HH4s8x', socket.AF_INET, socket.htons({allowed.port}), socket.inet_aton('127.0.0.1'))
bad = struct.pack('=HH4s8x', socket.AF_INET, socket.htons({other.port}), socket.inet_aton('127.0.0.1'))
shared = ctypes.create_string_buffer(good, 16)
stop = False
def flip():
    while not stop:
        for _ in range(1000):
            ctypes.memmove(shared, bad, 16)
            ctypes.memmove(shared, good, 16)
thread = threading.Thread(target=flip); thread.start()
peers, refused = set(), 0
for _ in range(190):
    s = socket.socket()
    if libc.connect(s.fileno(), shared, 16) == 0:
        peers.add(s.getpeername()[1])
    else:
        refused += 1
    s.close()
stop = True; thread.join()
result = [sorted(peers), refused]
"""
    peers, refused = run(function, code)
    assert peers in ([allowed.port], []), (peers, refused)
    assert peers and refused, "both addresses were there to be seen"
    assert other.accepted == 0


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_connections_at_a_time_are_bounded(net, listen):
    listener = listen()
    function = deploy(net, "python", listener.entry)
    code = f"""
held, result = [], []
def more(count):
    for _ in range(count):
        s = socket.socket()
        result.append(error_of(lambda: s.connect(('127.0.0.1', {listener.port}))))
        held.append(s)
more(66)
for s in held[:10]: s.close()
more(1)
result = [result[:64].count(None), result[64:]]
"""
    assert run(function, code) == [64, ["ENOBUFS", "ENOBUFS", None]]
    wait_log(function, "64 connections are open, which is the most")


def test_attempts_are_bounded(net, listen):
    listener = listen()
    function = deploy(net, "python", listener.entry)
    code = f"""
result = []
for _ in range(1000):
    with socket.socket() as s:
        result.append(error_of(lambda: s.connect(('127.0.0.1', {listener.port}))))
    if result[-1]: break
result = [len(result) > 200, result[-1]]
"""
    assert run(function, code) == [True, "ENOBUFS"]
    wait_log(function, "more than 100 attempts a second")


def test_what_a_function_asks_of_its_broker_is_bounded(net, listen):
    function = deploy(net, "python", listen().entry)
    code = """
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
count, started = 0, time.monotonic()
while time.monotonic() - started < 4:
    error_of(lambda: s.sendto(b'x', ('127.0.0.1', 9)))
    count += 1
result = [count, time.monotonic() - started]
"""
    count, took_s = run(function, code)
    assert count <= 2000 + 1100 * took_s


def test_lines_in_the_log_are_bounded(net, listen):
    function = deploy(net, "python", listen().entry)
    code = """
for port in range(1, 150):
    with socket.socket() as s:
        error_of(lambda: s.connect(('127.0.0.1', port)))
time.sleep(1)
error_of(lambda: connect(('127.0.0.1', 1)))
result = 1
"""
    run(function, code)
    wait_log(function, "more were not written)")
    assert log_of(function).count("network: ") < 60


def full_backlog():
    """A port on which connects hang: its queue is full. Returns what has to be kept open."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    held = [server]
    for _ in range(8):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        held.append(client)
    return server.getsockname()[1], held


def test_a_connect_that_hangs_holds_up_no_other_and_ends_with_its_call(net, listen):
    listener = listen()
    port, held = full_backlog()
    function = deploy(net, "python", f"127.0.0.1:{port}", listener.entry, timeout_ms=3000)
    code = f"""
def hang():
    with socket.socket() as s:
        error_of(lambda: s.connect(('127.0.0.1', {port})))
for _ in range(4): threading.Thread(target=hang, daemon=True).start()
time.sleep(0.2)
started = time.monotonic()
result = [connect(('127.0.0.1', {listener.port})), time.monotonic() - started < 1]
"""
    assert run(function, code) == ["x", True]
    timed = f"result = error_of(lambda: connect(('127.0.0.1', {port}), timeout=0.3))"
    assert run(function, timed) in ("None", "timed out")
    script = deploy(net, "js", f"127.0.0.1:{port}")
    timed = (f"return await new Promise((done) => {{ const s = require('net').connect({port}, '127.0.0.1');"
             "s.setTimeout(300, () => { s.destroy(); done('timeout'); }); s.on('connect', () => done('OK')); });")  # fmt: skip
    assert run(script, timed) == "timeout"
    answer = function.invoke(json.dumps(f"socket.socket().connect(('127.0.0.1', {port}))\nresult = 1"))
    answer.assert_error(504, "timeout")
    for one in (function, script):
        assert one.delete().status == 204
    for one in held:
        one.close()


# --- life ------------------------------------------------------------------------------------------------------------


def test_a_process_has_its_broker_and_both_end(start_system, listen):
    system = start_system()
    listener = listen()
    plain = deploy(system, "python")
    run(plain, "result = 1")
    assert not system.procs("egress")
    function = deploy(system, "python", listener.entry)
    code = f"result = connect(('127.0.0.1', {listener.port}))"
    assert run(function, code) == "x"
    (broker,) = system.procs("egress")
    status = Path(f"/proc/{broker.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert int(fields["CapEff"], 16) == 0 and int(fields["CapPrm"], 16) == 0 and fields["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert set(fields["Uid"].split()).isdisjoint({"0"})
    # Killed, it takes its process along, and the next process has one again.
    faas.kill(broker.pid)
    faas.wait_until(lambda: broker.pid not in system.pids("egress"), 5, "the broker gone")
    faas.wait_until(lambda: function.invoke(json.dumps(code)).status == 200, 10, "a process with a broker again")
    assert run(function, code) == "x"
    assert function.delete().status == 204
    faas.wait_until(lambda: not system.procs("egress"), 10, "no broker without its process")


def test_the_next_version_has_its_own_list(net, listen):
    one, two = listen(), listen()
    function = deploy(net, "python", one.entry)
    both = f"result = [error_of(lambda: connect(('127.0.0.1', port))) for port in ({one.port}, {two.port})]"
    assert run(function, both) == ["x", REFUSED]
    assert function.describe()["allow"] == [one.entry]
    net.deploy(PYTHON, "python", name=function.name, method="PUT", allow=f"{two.entry},API.test.example:443")
    assert run(function, both) == [REFUSED, "x"]
    assert function.describe()["allow"] == [two.entry, "API.test.example:443"]
    net.deploy(PYTHON, "python", name=function.name, method="PUT")
    assert set(run(function, both)) <= set(NOTHING)
    assert function.describe()["allow"] == []


def test_the_list_outlives_a_restart(start_system, listen):
    listener = listen()
    system = start_system()
    function = deploy(system, "js", listener.entry)
    system.stop()
    system.start()
    assert function.describe()["allow"] == [listener.entry]
    assert run(function, f"return (await fetch('{listener.url}')).status;") == 200


def test_processes_go_on_connecting_without_the_server(start_system, listen):
    listener = listen()
    system = start_system()
    function = deploy(system, "python", listener.entry)
    code = f"result = [os.getpid(), connect(('127.0.0.1', {listener.port}))]"
    before = run(function, code)
    faas.kill(system.pid_of("server"))
    assert run(function, code) == before
    faas.wait_until(lambda: "server" in system.platform_pids(), 10, "a new server")
    assert run(function, code)[1] == "x"


def test_new_versions_of_the_parts_keep_the_rule(start_system, listen):
    listener = listen()
    system = start_system()
    function = deploy(system, "python", listener.entry, "127.0.0.0/8:*")
    code = f"result = [error_of(lambda: connect(('127.0.0.1', port))) for port in ({listener.port}, {system.address[1]})]"
    assert run(function, code) == ["x", REFUSED]
    parts = system.platform_pids()
    done = subprocess.run([system.bin_dir / "minifaas", "reload", "all", "--run-dir", system.run_dir],
                          capture_output=True, text=True, timeout=90)  # fmt: skip
    assert done.returncode == 0, done
    assert run(function, code) == ["x", REFUSED]
    faas.wait_until(lambda: not set(system.platform_pids().values()) & (set(parts.values()) - {system.pid}), 15,
                    "the parts replaced")  # fmt: skip
    assert run(function, code) == ["x", REFUSED]
    assert system.platform_pids()["server"] != parts["server"]


# Installs a filter that lets system calls fail, given by their numbers, and becomes the program.
WITHOUT = r"""
import ctypes, os, struct, sys
program = b"".join(struct.pack("HBBI", *i) for i in [(0x20, 0, 0, 0)] + [
    i for number in sys.argv[1].split(",") for i in ((0x15, 0, 1, int(number)), (0x06, 0, 0, 0x50001))
] + [(0x06, 0, 0, 0x7FFF0000)])
code = ctypes.create_string_buffer(program)
prog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, prog, 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("number,words", [(310, "memory of another process"), (438, "pidfd_getfd")])
def test_a_machine_that_cannot_says_so(start_system, listen, number, words):
    system = start_system(prefix=(sys.executable, "-c", WITHOUT, str(number)))
    answer = system.try_deploy(PYTHON, "python", allow=listen().entry)
    answer.assert_error(501, "not_installed", "cannot watch a function's connections", words)
    assert run(deploy(system, "python"), "result = 1") == 1


def test_a_machine_without_namespaces_says_so(start_system, listen):
    system = start_system(FAAS_SANDBOX="off")
    system.try_deploy(PYTHON, "python", allow=listen().entry).assert_error(501, "not_installed", "no network namespaces")


@pytest.mark.parametrize("allow,words", [
    ("example.com", "'example.com' has no port"),
    ("example.com:0", "a port is 1 to 65535"),
    ("0x7f.1:80", "neither a name nor an address"),
    ("localhost:80", "name the address"),
    ("10.0.0.1/8:80", "neither a name nor an address"),
    (",".join(["a.example:1"] * 33), "more than 32 entries"),
    ("a" * 2000 + ":1", "allow"),
])  # fmt: skip
def test_a_list_that_is_wrong_is_said_to_be(net, allow, words):
    net.try_deploy(PYTHON, "python", allow=allow).assert_error(400, "bad_request", words)


def test_a_wasm_function_has_no_network_to_be_allowed(net):
    answer = net.try_deploy("int main(void) { return 0; }", "c", allow="example.com:443")
    answer.assert_error(400, "bad_request", "allow is for js and python")

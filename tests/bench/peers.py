"""Other people's servers: where they are found, and how each is started so that it answers hello."""

import os
import shutil
import socket
from pathlib import Path

from processes import Program

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minifaas" / "bench-peers"
BODY = '{"ok":true,"output":"Hello from FAAS!\\n"}\n'
ANSWER_JS = f"new Response({BODY!r}, {{ headers: {{ 'content-type': 'application/json' }} }})"


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


class Peer:
    """find(): its executable, or None. command(port, home, bench): argv and variables, where home is a directory of its
    own. how: to get it."""

    how = "scripts/bench_peers.sh sets it up"

    def __init__(self, name, find, command, how=None):
        self.name, self.find, self.command, self.how = name, find, command, how or self.how

    def start(self, bench):
        port, home = free_port(), bench.scratch / self.name.replace(" ", "-")
        home.mkdir()
        argv, variables = self.command(port, home, bench)
        return Program(argv, port=port, env={**os.environ, **variables}, cwd=home)


def write(path, text):
    path.write_text(text)
    return path


def program(name):
    return lambda: shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")


def cached(path):
    return lambda: CACHE / path if (CACHE / path).exists() else None


def nginx(port, home, _):
    temporary = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    body = BODY.replace("\\", "\\\\")
    config = write(home / "nginx.conf", f"""
daemon off; worker_processes 1; pid {home}/pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type application/json; {temporary}
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{body}'; }} }}
}}
""")  # fmt: skip
    return [PEERS["nginx"].find(), "-p", home, "-e", "stderr", "-c", config], {}


def node(port, home, _):
    script = write(home / "hello.js", f"""
require('http').createServer((request, response) => {{
  response.writeHead(200, {{ 'Content-Type': 'application/json' }});
  response.end({BODY!r});
}}).listen({port}, '127.0.0.1');
""")  # fmt: skip
    return [PEERS["node"].find(), script], {}


def deno(port, home, _):
    script = write(home / "hello.js", f"export default {{ fetch: () => {ANSWER_JS} }};\n")
    argv = [PEERS["deno"].find(), "serve", "--no-config", "--host", "127.0.0.1", "--port", port, script]
    return argv, {"DENO_DIR": str(home), "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"}


def workerd(port, home, _):
    write(home / "hello.js", f"export default {{ fetch() {{ return {ANSWER_JS}; }} }};\n")
    config = write(home / "config.capnp", f"""
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "hello", worker = (
    modules = [(name = "hello.js", esModule = embed "hello.js")], compatibilityDate = "2026-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "hello")]
);
""")  # fmt: skip
    return [PEERS["workerd"].find(), "serve", config], {}


def uvicorn(port, home, _):
    write(home / "hello.py", f"""
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"{len(BODY)}")]


async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": HEADERS}})
    await send({{"type": "http.response.body", "body": {BODY.encode()!r}}})
""")  # fmt: skip
    packages = PEERS["uvicorn"].find()
    python = (packages.parent / "python").read_text().strip()
    argv = [python, "-m", "uvicorn", "hello:app", "--host", "127.0.0.1", "--port", port, "--loop", "uvloop", "--http",
            "httptools", "--lifespan", "off", "--no-access-log", "--log-level", "warning"]  # fmt: skip
    return argv, {"PYTHONPATH": f"{packages}:{home}", "PYTHONDONTWRITEBYTECODE": "1"}


def of_watchdog(port, _, bench):
    behind = free_port()
    return [PEERS["of-watchdog"].find()], {
        "port": str(port), "mode": "http", "upstream_url": f"http://127.0.0.1:{behind}", "log_prefix": "false",
        "http_buffer_req_body": "false", "metrics_port": str(free_port()), "suppress_lock": "true", "healthcheck_interval": "1s",
        "fprocess": f"{bench.options.build / 'bench' / 'do_nothing'} {behind}"}  # fmt: skip


def wasmtime(*options):
    def command(port, _, bench):
        del bench
        function = PEERS["wasmtime"].find().parents[1] / "hello_http.wasm"
        # -Scli: Rust's standard library imports the command line's interfaces, and calls none of them here.
        return [PEERS["wasmtime"].find(), "serve", "-Scli", *options, "--addr", f"127.0.0.1:{port}", function], {}

    return command


TUNED = ("-Opooling-allocator=y", "-Opooling-memory-keep-resident=131072", "-Opooling-table-keep-resident=65536",
         "-Opooling-max-unused-warm-slots=1000", "-Opooling-pagemap-scan=y", "-Omemory-init-cow=y")  # fmt: skip

PEERS = {peer.name: peer for peer in (
    Peer("nginx", program("nginx"), nginx),
    Peer("node", program("node"), node, "on Debian: apt-get install nodejs"),
    Peer("deno", cached("deno/node_modules/deno/deno"), deno),
    Peer("workerd", cached("workerd/node_modules/@cloudflare/workerd-linux-64/bin/workerd"), workerd),
    Peer("uvicorn", cached("uvicorn/packages"), uvicorn),
    Peer("of-watchdog", cached("of-watchdog/of-watchdog"), of_watchdog),
    Peer("wasmtime", cached("wasmtime/bin/wasmtime"), wasmtime()),
    Peer("wasmtime, tuned", cached("wasmtime/bin/wasmtime"), wasmtime(*TUNED)),
)}  # fmt: skip

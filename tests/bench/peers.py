"""Other people's servers: where they are found, and how each is started for hello."""

import shutil
import socket

from processes import Program


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


class Peer:
    """missing(): None when it can be started, else how to get it. start(bench): the program, answering."""

    how = "scripts/bench_peers.sh sets it up"

    def find(self):
        raise NotImplementedError

    def missing(self):
        return None if self.find() else self.how


class Nginx(Peer):
    how = "on Debian: apt-get install nginx-light, or scripts/bench_peers.sh"

    def find(self):
        return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

    def start(self, bench):
        port, home = free_port(), bench.scratch / "nginx"
        home.mkdir()
        (home / "nginx.conf").write_text(
            f"daemon off; master_process on; worker_processes 1; pid {home}/pid; error_log stderr;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000000; default_type application/json;\n"
            + "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 "
            "'{\"ok\":true,\"output\":\"Hello from FAAS!\"}\\n'; } } }\n")  # fmt: skip
        return Program([self.find(), "-p", home, "-c", home / "nginx.conf"], port=port)


PEERS = {"nginx": Nginx()}

"""Ours, as a user would start it, with directories of its own on a port of its own."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from load import request
from processes import START_LIMIT_S, Program

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


class System(Program):
    """`minifaas up`. Ready means that /readyz says so. settings: FAAS_ variables without the prefix."""

    def __init__(self, binaries, scratch, home=None, **settings):
        self.home = Path(home or tempfile.mkdtemp(dir=scratch))
        env = {name: value for name, value in os.environ.items() if not name.startswith("FAAS_")}
        env |= {f"FAAS_{name.upper()}": str(value) for name, value in settings.items()}
        env["FAAS_LISTEN"] = "127.0.0.1:0"
        for name in ("DATA", "RUN", "LOG"):
            (self.home / name).mkdir(exist_ok=True)
            env[f"FAAS_{name}_DIR"] = str(self.home / name)
        super().__init__([binaries / "minifaas", "up"], r"api_gateway listening on \S+:(\d+)", env=env, cwd=self.home)
        while self.request("GET", "/readyz")[0] != 200:
            if time.monotonic() - self.started > START_LIMIT_S:
                self.stop()
                raise RuntimeError("the system is not ready:\n" + "".join(self.lines[-20:]))
            time.sleep(0.001)
        self.ready_s = time.monotonic() - self.started

    def request(self, method, path, body=None):
        return request(self.port, method, path, body)

    def deploy(self, name, lang, source, **parameters):
        """The answer; None when this machine cannot build that language."""
        more = "".join(f"&{key}={value}" for key, value in parameters.items())
        status, answer = self.request("POST", f"/deploy?name={name}&lang={lang}{more}", source)
        if status == 501:
            return None
        if status != 201:
            raise RuntimeError(f"deploy of {name}: {status} {answer.decode(errors='replace')}")
        return json.loads(answer)

    def stop_and_remove(self):
        seconds = self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
        return seconds


def copy_functions(home, function_id, count, prefix="copy"):
    """More functions like a deployed one, made on disk while nothing runs there: the files are hard links to those of
    the first, names and metadata are their own. Their names."""
    data = Path(home) / "DATA"
    name, number = function_id.rsplit("_", 1)
    meta = json.loads((data / function_id / "metadata.json").read_text())
    names = [f"{prefix}-{i}" for i in range(count)]
    for copy in names:
        copy_id = f"{copy}_{number}"
        (data / copy_id).mkdir(mode=(data / function_id).stat().st_mode & 0o777)
        for file in (data / function_id).iterdir():
            if file.name == "metadata.json":
                meta["name"], meta["id"] = copy, copy_id
                (data / copy_id / file.name).write_text(json.dumps(meta, separators=(",", ":")) + "\n")
                (data / copy_id / file.name).chmod(file.stat().st_mode & 0o777)
            else:
                os.link(file, data / copy_id / file.name)
        link = os.readlink(data / "names" / name)
        os.symlink(link.replace(function_id, copy_id), data / "names" / copy)
    return names

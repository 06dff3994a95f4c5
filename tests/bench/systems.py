"""Ours, as a user would start it, with directories of its own on a port of its own."""

import hashlib
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


def make_functions(home, function_id, count):
    """More functions like a deployed hello, made on disk while nothing runs there, since building thousands would take
    long. Each has a text, native code and hash of its own: hello in C says "Hello from 0042!". Their names."""
    data, texts = Path(home) / "DATA", {}
    names = [f"copy-{i:04}" for i in range(count)]
    for file in (data / function_id).iterdir():
        texts[file.name] = file.read_bytes()
    meta = json.loads(texts.pop("metadata.json"))
    for i, name in enumerate(names):
        place = data / f"{name}_{meta['created_s']}"
        place.mkdir(0o700)
        for file, text in texts.items():
            (place / file).write_bytes(text.replace(b"from FAAS!", b"from %04d!" % (i % 10000)))
        native = (place / "code.cwasm").read_bytes()
        digest = hashlib.blake2b(native, key=meta["engine"].encode()[:64], digest_size=32).hexdigest()
        own = meta | {"name": name, "id": place.name, "native_hash": digest}
        (place / "metadata.json").write_text(json.dumps(own, separators=(",", ":")) + "\n")
        os.symlink(f"../{place.name}", data / "names" / name)
    return names


def link_functions(home, names, count):
    """Still more of them, that share the files of those: for when only their number matters."""
    data, added = Path(home) / "DATA", []
    for i in range(count):
        original = (data / "names" / names[i % len(names)]).resolve()
        meta = json.loads((original / "metadata.json").read_text())
        name = f"link-{i:05}"
        place = data / f"{name}_{meta['created_s']}"
        place.mkdir(0o700)
        for file in original.iterdir():
            if file.name != "metadata.json":
                os.link(file, place / file.name)
        (place / "metadata.json").write_text(
            json.dumps(meta | {"name": name, "id": place.name}, separators=(",", ":")) + "\n")  # fmt: skip
        os.symlink(f"../{place.name}", data / "names" / name)
        added.append(name)
    return added

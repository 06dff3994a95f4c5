"""An instance for each kind of starter, with the host that its functions attack: root; an ordinary user; an ordinary user to
whom control groups were delegated, as a service manager does; an ordinary user where no namespace can be made (bare)."""

import json
import os
import runpy
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faas
import host
import probes

ORDINARY_UID = 20000 + os.getpid() % 10000
CONTROLLERS = ("memory", "pids")
CACHE = Path.home() / ".cache" / "minifaas" / "rust-wasm"


def reason_not_run(tier):
    """Why this machine cannot give a tier; None when it can."""
    if tier == "root" and os.getuid() != 0:
        return "tier root not run: not started as root"
    if tier != "root" and os.getuid() == 0 and not (shutil.which("setpriv") and shutil.which("unshare")):
        return f"tier {tier} not run: no setpriv or unshare to become an ordinary user with"
    if tier in ("delegated", "bare") and os.getuid() != 0:
        return f"tier {tier} not run: only root can make what is around it"
    if tier == "delegated" and len(own_groups()) < len(CONTROLLERS):
        return f"tier delegated not run: of {CONTROLLERS} only {list(own_groups())} can be delegated here"
    return None


def own_groups():
    """{controller: directory of our control group} of version 1, where groups may be made."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in set(names.split(",")) & set(CONTROLLERS):
            for folder in (Path(f"/sys/fs/cgroup/{name}{path}"), Path(f"/sys/fs/cgroup/{name}")):
                if (folder / "tasks").exists() and os.access(folder, os.W_OK):
                    found[name] = folder
                    break
    return found


def source_of(probe, target):
    """The whole source of a probe: its prelude, and what the test has set up put into its place."""
    if probe.lang == "wasm":
        return runpy.run_path(str(probe.path))["MODULE"]
    text = probe.path.read_text()
    if probe.lang in probes.PRELUDES:
        text = (probe.path.parent / probes.PRELUDES[probe.lang]).read_text() + text
    return text.replace("@SECRET@", target["secret"]).replace("@CODE@", target["code"])


class Tier:
    WITNESSES = {
        "python": 'def handler(event, context):\n    return "witness"  # CANARY\n',
        "js": "exports.handler = async () => 'witness'; // CANARY\n",
        "c": '#include <stdio.h>\n/* CANARY */\nint main(void) { fputs("\\"witness\\"", stdout); return 0; }\n',
    }

    def __init__(self, name, **env):
        self.name = name
        self.is_user = name != "root" and os.getuid() == 0
        self.groups, self.witnesses = [], {}
        self.host = host.Host(ORDINARY_UID if self.is_user else None)
        self.place = self.host.folder / "place"
        self.place.mkdir()
        env = {"FAAS_CANARY": self.host.canary, "FAAS_WORKERS": 2, "FAAS_WORKERS_MAX": 2, "FAAS_QUEUE_MS": 60000, **env}
        if self.is_user:
            self.system = self.make_user_system(env)
        else:
            self.system = faas.System(home=self.place / "instance", **env)
        self.pool = ThreadPoolExecutor(2)
        self.deploys = {}

    def make_user_system(self, env):
        """Executables that an ordinary user can read, a home of its own, nothing of ours."""
        shutil.copytree(faas.BIN, self.place / "bin", symlinks=True)
        home = self.place / "home"
        rust = home / ".cache" / "minifaas" / "rust-wasm"
        rust.mkdir(parents=True)
        for path in (home, home / ".cache", home / ".cache" / "minifaas"):
            os.chown(path, ORDINARY_UID, ORDINARY_UID)
        entering, become = "", f"setpriv --reuid={ORDINARY_UID} --regid={ORDINARY_UID} --clear-groups"
        if self.name == "bare":
            become = f"{sys.executable} {Path(__file__).with_name('without_namespaces.py')} {ORDINARY_UID}"
        if self.name == "delegated":
            for folder in own_groups().values():
                group = folder / f"hostile-{self.host.marker}"
                group.mkdir()
                self.groups.append(group)
                for path in (group, *group.iterdir()):
                    os.chown(path, ORDINARY_UID, ORDINARY_UID)
                entering += f'echo $$ >"{group}/tasks"; '
        script = entering + f'if [ -d "{CACHE}" ]; then mount --bind "{CACHE}" "{rust}"; fi; exec {become} "$@"'
        return faas.System(
            home=self.place / "instance", bin_dir=self.place / "bin", owner=ORDINARY_UID, HOME=home, XDG_CACHE_HOME=None,
            prefix=["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"], **env,
        )  # fmt: skip

    def start(self, selected):
        self.system.start(40)
        for lang, source in self.WITNESSES.items():
            answer = self.system.try_deploy(source.replace("CANARY", self.host.canary), lang, name=f"witness-{lang}")
            assert answer.status in (201, 501), answer
            if answer.status == 201:
                self.witnesses[lang] = faas.Function(self.system, answer)
        witness = self.witnesses.get("c") or self.witnesses["python"]
        code = next((self.system.data_dir / witness.id).glob("code.[cp]*"))
        self.target = self.host.target(self.system, code)
        self.kept = {function.id: self.host.snapshot(self.system.data_dir / function.id) for function in self.witnesses.values()}
        self.parts = self.system.platform_pids()
        for probe in selected:
            self.deploys[probe.file] = self.pool.submit(self.deploy, probe)
        return self

    def has(self, wall):
        return self.system.metric("faas_sandbox_wall", wall=wall) == 1

    def deploy(self, probe):
        name = "h-" + probe.file.replace("/", "-").replace("_", "-")
        return self.system.try_deploy(source_of(probe, self.target), probe.lang, name, **probe.params)

    def log_of(self, name):
        path = self.system.log_dir / "functions" / f"{name}.log"
        texts = [file.read_text(errors="replace") for file in sorted(path.parent.glob(path.name + "*"))]
        return "".join(texts)

    def assert_untouched(self):
        """Nothing of what a probe did reached the host, the platform, or other functions."""
        faas.wait_until(lambda: not self.host.marked(), 5, lambda: f"processes of a function left: {self.host.marked()}")
        assert not self.host.effects(), self.host.effects()
        assert self.system.platform_pids() == self.parts, f"a part died\n{self.system.tail()}"
        for lang, function in self.witnesses.items():
            answer = function.invoke()
            assert answer.output.strip() == '"witness"', (lang, answer)
            assert self.host.snapshot(self.system.data_dir / function.id) == self.kept[function.id], f"the code of {lang} has changed"

    def close(self):
        self.pool.shutdown(wait=False, cancel_futures=True)
        try:
            if self.system.process:
                print(self.system.tail())
                self.system.stop(20)
                assert not self.host.effects(), self.host.effects()
        finally:
            self.system.remove()
            for group in self.groups:
                faas.wait_until(lambda: not (group / "tasks").read_text(), 10, "nobody in the delegated group")
                for path in sorted(group.rglob("*"), reverse=True):
                    if path.is_dir():
                        path.rmdir()
                group.rmdir()
            self.host.close()


def text_of(answer):
    """All that the caller is shown."""
    return json.dumps(answer.headers) + answer.body.decode(errors="replace")

# Tries: another user, capabilities, and programs that would give them. Expected: refused (200).
import shutil
import subprocess
for name, action in {
    "setuid": lambda: os.setuid(0) or "root", "setgid": lambda: os.setgid(0) or "root's group", "setgroups": lambda: os.setgroups([0]) or "groups",
    "setresuid": lambda: os.setresuid(0, 0, 0) or "root", "seteuid": lambda: os.seteuid(0) or "root", "setfsuid": lambda: libc.setfsuid(0) == 0 and libc.setfsuid(0) == 0,
    "uid": lambda: os.getuid() == 0 or os.geteuid() == 0,
}.items():  # fmt: skip
    attempt(name, action)
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
    (escaped if int(status[name], 16) else held)(name, status[name])
(held if status["NoNewPrivs"] == "1" else escaped)("NoNewPrivs", status["NoNewPrivs"])
for program in ("su", "mount", "sudo", "passwd", "newgrp"):
    path = shutil.which(program)
    if path and os.stat(path).st_mode & 0o4000:
        attempt(path, lambda: (lambda run: "euid 0" if b"must be superuser" in run.stderr else "")(
            subprocess.run([path, "--version"], capture_output=True, stdin=subprocess.DEVNULL)))  # fmt: skip
say("end")

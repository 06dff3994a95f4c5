# Tries: to read files of the host, by absolute and relative paths. Expected: none is there (200, nothing read).
target = read_target()
up = "../" * 12
for path in (target["secret"], target["conf"], "/etc/shadow", "/etc/passwd", "/etc/hostname", "/root/.bash_history",
             "/var/log/dpkg.log", "/tmp/faas_lb.sock", up + target["secret"], up + "etc/passwd", "//" + target["secret"]):  # fmt: skip
    attempt(path, lambda: open(path, "rb").read(64))
for path in ("/root", "/home", "/var", "/srv", "/boot", "/sys", "/run", os.path.dirname(target["secret"])):
    attempt(path, lambda: os.listdir(path))
say("end")

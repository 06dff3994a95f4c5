# Tries: to follow links of its own making out of its root: to the host's files, through /proc/self/root and cwd, hard
# links, and /tmp/../… Expected: nothing of the host (200).
target = read_target()
os.chdir("/tmp")
for number, path in enumerate((target["secret"], "/proc/1/root" + target["secret"], "/proc/self/root/../../.." + target["secret"],
                               "/proc/self/cwd/../.." + target["secret"], "/proc/1/cwd/../../../.." + target["secret"],
                               f"/proc/{os.getppid()}/root" + target["secret"])):  # fmt: skip
    def follow():
        os.symlink(path, f"link-{number}")
        return open(f"link-{number}").read(64)
    attempt(path, follow)
    attempt("direct " + path, lambda: open(path).read(64))
attempt("hard link", lambda: os.link(target["secret"], "hard") or open("hard").read(64))
attempt("rename out", lambda: os.rename("link-0", target["drop"] + "/renamed") or "renamed")
attempt("create", lambda: open(target["drop"] + "/created", "w").write("x"))
say("end")

# Tries: to change what it sees: files of the system and of the platform's runtimes. Expected: read-only (200). A file is
# opened for writing, or made and removed again; nothing is overwritten.
import sys
places = ["/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/dev", "/lib", os.path.dirname(sys.modules["faas_runtime"].__path__[0]) if "faas_runtime" in sys.modules else "/usr/lib"]
for place in places:
    def create():
        path = f"{place}/hostile-{os.getpid()}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.unlink(path)
        return path
    attempt(place, create)
for path in ("/usr/bin/python3", "/lib64/ld-linux-x86-64.so.2", "/etc/ld.so.cache"):
    attempt(path, lambda: os.open(path, os.O_WRONLY) and "opened for writing")
    attempt("chmod " + path, lambda: os.chmod(path, os.stat(path).st_mode) or "chmod")
say("end")

# Tries: programs from where there should be none: a file that it wrote itself, one in memory, the loader of the system, and
# the platform's own executables. Expected: nothing of the host runs (200); its own files may, they have no more rights.
import shutil
import subprocess
target = read_target()
shutil.copy("/bin/true", "/tmp/true")
os.chmod("/tmp/true", 0o6755)
run = subprocess.run(["/tmp/true"], capture_output=True)
held("own file", run.returncode)
for path in (target["bin"] + "/minifaas", target["bin"] + "/worker", target["bin"] + "/native_compiler", target["bin"] + "/builder"):
    attempt(path, lambda: subprocess.run([path, "--help"], capture_output=True, timeout=5).returncode is not None and "ran")
say("end")

# Tries: to change files that processes booted later would load: the platform's runtime and the interpreter's library.
# Expected: all of it is read-only (200).
import sysconfig
places = [getattr(sys.modules.get("faas_runtime"), "__path__", ["/usr/lib"])[0], sysconfig.get_paths()["stdlib"], "/usr/bin"]
for place in places:
    for name in os.listdir(place)[:5]:
        path = f"{place}/{name}"
        attempt(path, lambda: os.open(path, os.O_WRONLY) and "opened for writing")
    attempt(place, lambda: os.close(os.open(f"{place}/sitecustomize.py", os.O_CREAT | os.O_EXCL | os.O_WRONLY)) is None and "created")
say("end")

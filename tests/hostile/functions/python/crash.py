# Tries: a core file of its process on the host: it dies of SIGSEGV. Expected: 502 crash, no file (the test looks).
import resource
try:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    escaped("RLIMIT_CORE", "raised")
except (OSError, ValueError) as error:
    held("RLIMIT_CORE", error)
os.chdir("/tmp")
ctypes.string_at(0)

"""FAAS_CALL_ID and FAAS_DEADLINE_MS of a function that is called again and again.

os.environ shows those of the call under way. The C library's environment, which only children and foreign code
see, is set when one of them is about to be there: setenv() of the C library keeps every value that it ever had,
and costs more than the rest of a short call.
"""

import os
import sys

CHILD_EVENTS = frozenset(
    ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")
)
# Modules that start children or call the C library without such an event.
FOREIGN_MODULES = frozenset(("_ctypes", "cffi", "_cffi_backend", "multiprocessing"))

values = None
environ = os.environ
putenv = os.putenv
is_foreign = False


def tell_c_library():
    for name in (b"FAAS_CALL_ID", b"FAAS_DEADLINE_MS"):
        value = values.get(name)
        if value is not None:
            putenv(name, value)


def on_event(event, arguments):
    global is_foreign
    if event in CHILD_EVENTS:
        tell_c_library()
    elif event == "import" and arguments[0] in FOREIGN_MODULES:
        is_foreign = True
        tell_c_library()


def start():
    global values
    values = environ._data
    sys.addaudithook(on_event)


def set_call(call_id, deadline_ms):
    values[b"FAAS_CALL_ID"] = call_id.encode("latin-1")
    values[b"FAAS_DEADLINE_MS"] = b"%d" % deadline_ms
    if is_foreign:
        tell_c_library()

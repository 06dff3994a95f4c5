"""Entry `script`: the user's source as the main program of this process, which serves this one call."""

import os
import sys

from faas_runtime.failure import make_excepthook, report_uncaught
from faas_runtime.http_call import cgi_variables


def set_environment(call):
    environ = os.environb
    variables = {"FAAS_CALL_ID": call.id, "FAAS_DEADLINE_MS": str(call.deadline_ms)}
    if call.is_http:
        variables.update(cgi_variables(call.head))
        variables["GATEWAY_INTERFACE"] = "CGI/1.1"
        for name, value in call.head.headers:
            if name == "content-length":
                variables["CONTENT_LENGTH"] = value
    for name, value in variables.items():
        environ[name.encode("latin-1")] = value.encode("latin-1")


def run(function, source, call):
    """Returns when the main program has ended; the interpreter then ends as it always does."""
    set_environment(call)
    # Printed lines leave at once, so that they are there when the call is stopped at its deadline.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    sys.argv = [function.name]
    sys.excepthook = make_excepthook(function)
    main = function.new_module("__main__", source)
    try:
        exec(function.compile(source), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        report_uncaught(error, function)
        failed = True
    else:
        failed = False
    if failed:
        raise SystemExit(1)

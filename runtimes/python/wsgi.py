"""Entry `wsgi`: an application by PEP 3333."""

import sys
from io import BytesIO

from faas_runtime.failure import output_limit
from faas_runtime.http_call import Head, cgi_variables
from faas_runtime.lambda_event import head_line, status_of

INVOKE_VARIABLES = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": "/",
    "REQUEST_URI": "/",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "REMOTE_ADDR": "127.0.0.1",
}


def as_http(head):
    """A call of /invoke is a POST of its payload to `/`."""
    if head.is_http:
        return head
    headers = head.headers
    if "host" not in head.joined:
        headers = [("host", "localhost"), *headers]
    return Head({**head.variables, **INVOKE_VARIABLES}, headers)


class Response:
    """start_response and what it leads to."""

    def __init__(self, function):
        self.function = function
        self.status = None
        self.headers = ()
        self.parts = []
        self.size = 0

    def start(self, status, headers, exc_info=None):
        if exc_info:
            try:
                if self.parts:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called twice without exc_info")
        if not isinstance(status, str) or not isinstance(headers, list):
            raise TypeError("start_response takes the status as str and the headers as a list of pairs")
        for name, value in headers:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError("a header is a pair of str")
        self.status = status
        self.headers = list(headers)
        return self.write

    def write(self, data):
        if not isinstance(data, bytes):
            raise TypeError(f"the body has {type(data).__name__} where bytes are wanted")
        if self.status is None:
            raise AssertionError("the body came before start_response")
        if data:
            self.parts.append(data)
            self.size += len(data)
            if self.size > self.function.output_bytes:
                raise output_limit(self.function)

    def head(self):
        lines = [f"status={status_of(self.status[:3])}\0"]
        lines.extend(head_line(name, value) for name, value in self.headers)
        # Not every caller keeps to latin-1, which PEP 3333 asks for.
        return "".join(line if line.isascii() else recoded(line) for line in lines).encode("latin-1")


def recoded(line):
    try:
        line.encode("latin-1")
        return line
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace").decode("latin-1")


class Wsgi:
    def __init__(self, function, module):
        self.function = function
        self.user = module.app

    def prepare(self, call):
        environ = cgi_variables(as_http(call.head))
        environ["CONTENT_LENGTH"] = str(len(call.body))
        environ["FAAS_CALL_ID"] = call.id
        environ["FAAS_DEADLINE_MS"] = str(call.deadline_ms)
        environ["wsgi.version"] = (1, 0)
        environ["wsgi.url_scheme"] = "http"
        environ["wsgi.input"] = BytesIO(call.body)
        environ["wsgi.input_terminated"] = True
        environ["wsgi.errors"] = sys.stderr
        environ["wsgi.multithread"] = False
        environ["wsgi.multiprocess"] = True
        environ["wsgi.run_once"] = False
        return environ, call.is_http

    def run(self, prepared):
        environ, is_http = prepared
        response = Response(self.function)
        result = self.user(environ, response.start)
        try:
            for data in result:
                response.write(data)
        finally:
            if hasattr(result, "close"):
                result.close()
        if response.status is None:
            raise AssertionError("the application did not call start_response")
        return response.head() if is_http else b"", b"".join(response.parts)

    def close(self):
        pass

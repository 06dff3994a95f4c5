"""Entry `asgi`: an application by ASGI 3.0, https://asgi.readthedocs.io/en/latest/specs/www.html"""

import asyncio
import sys

from faas_runtime.failure import output_limit, traceback_of
from faas_runtime.http_call import raw_path
from faas_runtime.lambda_event import head_line, status_of
from faas_runtime.loop import run, start_loop
from faas_runtime.wsgi import as_http

SHUTDOWN_S = 1.0
LIFESPAN_ANSWERS = frozenset(
    f"lifespan.{step}.{end}" for step in ("startup", "shutdown") for end in ("complete", "failed")
)


class Exchange:
    """receive and send of one call."""

    def __init__(self, body, function, loop):
        self.body = body
        self.function = function
        self.ended = loop.create_future()
        self.status = None
        self.headers = ()
        self.parts = []
        self.size = 0

    async def receive(self):
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        # Who waits for a disconnect while it streams must not be told of one before its answer is whole.
        await asyncio.shield(self.ended)
        return {"type": "http.disconnect"}

    async def send(self, message):
        kind = message["type"]
        if kind == "http.response.start":
            if self.status is not None:
                raise RuntimeError("http.response.start was sent twice")
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
        elif kind == "http.response.body":
            if self.status is None:
                raise RuntimeError("http.response.body was sent before http.response.start")
            if self.ended.done():
                raise RuntimeError("http.response.body was sent after the last one")
            self.add(message.get("body", b""))
            if not message.get("more_body", False):
                self.ended.set_result(None)
        else:
            raise RuntimeError(f"the message {str(kind)[:100]!r} cannot be sent here")

    def add(self, data):
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"the body has {type(data).__name__} where bytes are wanted")
        self.parts.append(bytes(data))
        self.size += len(data)
        if self.size > self.function.output_bytes:
            raise output_limit(self.function)

    def head(self):
        lines = [f"status={status_of(self.status)}\0"]
        for name, value in self.headers:
            lines.append(head_line(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")))
        return "".join(lines).encode("latin-1")


class Lifespan:
    """Startup and shutdown of an application that knows of them."""

    def __init__(self, app, loop):
        self.app = app
        self.loop = loop
        self.state = {}
        self.inbox = asyncio.Queue()
        self.event = asyncio.Event()
        self.failed = None
        self.task = None

    async def receive(self):
        return await self.inbox.get()

    async def send(self, message):
        kind = message["type"]
        if kind not in LIFESPAN_ANSWERS:
            raise RuntimeError(f"the message {str(kind)[:100]!r} cannot be sent here")
        if kind == "lifespan.startup.failed":
            self.failed = message.get("message") or "no reason given"
        self.event.set()

    async def step(self, kind):
        """Sends one message and waits until it is answered or the application has ended."""
        self.event.clear()
        await self.inbox.put({"type": kind})
        answered = self.loop.create_task(self.event.wait())
        await asyncio.wait((self.task, answered), return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()

    async def start(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self.task = self.loop.create_task(wait_app(self.app(scope, self.receive, self.send)))
        await self.step("lifespan.startup")
        if self.task.done() and not self.task.cancelled():
            self.task.exception()  # an application without a lifespan: looked at, so that asyncio is silent
        if self.failed is not None:
            raise RuntimeError(f"the application's startup failed: {self.failed}")

    async def stop(self):
        if self.task is not None and not self.task.done():
            await asyncio.wait_for(self.step("lifespan.shutdown"), SHUTDOWN_S)


async def wait_app(awaitable):
    return await awaitable


class Asgi:
    def __init__(self, function, module):
        self.function = function
        self.user = module.app
        self.loop = start_loop()
        self.lifespan = Lifespan(self.user, self.loop)
        run(self.lifespan.start())

    def prepare(self, call):
        http = as_http(call.head)
        variables = http.variables
        port = variables.get("SERVER_PORT", "80")
        path = variables.get("PATH_INFO") or "/"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": variables.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
            "method": variables["REQUEST_METHOD"].upper(),
            "scheme": "http",
            "path": path.encode("latin-1").decode("utf-8", "replace"),
            "raw_path": raw_path(http).encode("latin-1"),
            "query_string": variables.get("QUERY_STRING", "").encode("latin-1"),
            "root_path": variables.get("SCRIPT_NAME", ""),
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in http.headers
            ],
            "client": (variables.get("REMOTE_ADDR", ""), 0),
            "server": (variables.get("SERVER_NAME", "localhost"), int(port) if port.isdecimal() else None),
            "state": self.lifespan.state.copy(),
            "extensions": {},
        }
        return scope, call

    def run(self, prepared):
        scope, call = prepared
        exchange = Exchange(call.body, self.function, self.loop)
        try:
            run(self.user(scope, exchange.receive, exchange.send))
        except Exception as error:
            if not exchange.ended.done():
                raise
            # The answer was whole before this: frameworks send their error page, then raise for the log.
            sys.stderr.write(traceback_of(error, self.function))
        if not exchange.ended.done():
            raise RuntimeError("the application returned before its answer was whole")
        if exchange.size > self.function.output_bytes:
            raise output_limit(self.function)
        return exchange.head() if call.is_http else b"", b"".join(exchange.parts)

    def close(self):
        try:
            run(self.lifespan.stop())
        except Exception as error:
            sys.stderr.write(traceback_of(error, self.function))

"""A process's life: boot, wait for its LOAD, then serve calls, or be one call's main program."""

import gc
import os
import sys
import time
from _thread import stack_size

from faas_runtime import environment, frames, handler, script
from faas_runtime.environment import set_call
from faas_runtime.failure import describe, output_limit
from faas_runtime.frames import Channel, FrameError, parse_head
from faas_runtime.http_call import make_call

NANOSECONDS_MS = 1000000
DEFAULT_LIMITS = {"limit.timeout_ms": 10000, "limit.memory_mb": 128, "limit.output_mb": 16}
ENTRIES = ("handler", "wsgi", "asgi", "script")
DIST_PACKAGES = "/usr/lib/python3/dist-packages"
EXIT_PROTOCOL = 70
THREAD_STACK_BYTES = 2 << 20

FLUSH_NS = 150000  # an answer that is finished waits so long for others to go with it

monotonic_ns, time_ns = time.monotonic_ns, time.time_ns
# The mappings are kept: a function may put another one into their place.
environb = os.environb


class SourceLoader:
    """Gives linecache, and through it every traceback, the lines of a source that is in no file."""

    def __init__(self, source):
        self.source = source

    def get_source(self, _name):
        return self.source.decode("utf-8", "replace")


class Function:
    """What a LOAD says."""

    def __init__(self, frame):
        variables, _ = parse_head(frame.head)
        try:
            limits = {name: int(variables.get(name, value)) for name, value in DEFAULT_LIMITS.items()}
        except ValueError as error:
            raise FrameError(f"a limit of the LOAD: {error}") from None
        for name in ("FAAS_FUNCTION", "FAAS_VERSION", "entry"):
            if name not in variables:
                raise FrameError(f"a LOAD without {name}")
        if variables["entry"] not in ENTRIES or frame.body is None:
            raise FrameError(f"a LOAD for the entry {variables['entry']}")
        self.name = variables["FAAS_FUNCTION"]
        self.version = variables["FAAS_VERSION"]
        self.entry = variables["entry"]
        self.is_isolated = variables.get("isolation") == "call"
        self.file_name = f"{self.name}.py"
        self.timeout_ms = limits["limit.timeout_ms"]
        self.memory_mb = limits["limit.memory_mb"]
        self.output_bytes = limits["limit.output_mb"] << 20
        self.arn = f"arn:aws:lambda:local:000000000000:function:{self.name}"
        self.log_group = f"/aws/lambda/{self.name}"
        self.environment = {
            name[4:]: value for name, value in variables.items() if name.startswith("env.") and len(name) > 4
        }
        self.environment["FAAS_FUNCTION"] = self.name
        self.environment["FAAS_VERSION"] = self.version

    def compile(self, source):
        return compile(source, self.file_name, "exec", dont_inherit=True)

    def new_module(self, name, source):
        module = type(sys)(name)
        module.__file__ = self.file_name
        module.__loader__ = SourceLoader(source)
        sys.modules[name] = module
        return module


def set_name(name):
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(name)
    except OSError:
        pass  # no /proc: the name is for people only


def complete_interpreter():
    """What `site` would have done: -S keeps it out, because it costs time and follows .pth files."""
    import builtins
    from _sitebuiltins import Quitter

    builtins.exit = Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = Quitter("quit", "Ctrl-D (i.e. EOF)")
    if os.path.isdir(DIST_PACKAGES):
        sys.path.append(DIST_PACKAGES)


def log_streams():
    """Descriptors 1 and 2 are the function's log: what is printed leaves line by line, and nothing waits on
    stdin."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return sys.stdout, sys.stderr


def flush(streams):
    for stream in streams:
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # closed by the user's code


def make_entry(function, module):
    wanted = "handler" if function.entry == "handler" else "app"
    if not callable(getattr(module, wanted, None)):
        raise AttributeError(f"{function.file_name} has no '{wanted}' that can be called, after it was evaluated")
    if function.entry == "handler":
        return handler.Handler(function, module)
    from faas_runtime.application import make_application

    return make_application(function, module)


class Server:
    """Calls of one function, one after the other."""

    def __init__(self, channel, function, load):
        self.channel = channel
        self.function = function
        self.load = load
        self.entry = None
        self.load_failure = None
        self.flags = frames.ANSWER_COLD
        self.streams = log_streams()

    def evaluate(self, source):
        function = self.function
        try:
            module = function.new_module("function", source)
            sys.argv = [function.name]
            exec(function.compile(source), module.__dict__)
            self.entry = make_entry(function, module)
        except BaseException as error:
            self.load_failure = describe(error, function)
        self.end_child(self.load_failure)
        gc.freeze()
        flush(self.streams)
        self.channel.loaded(self.load)

    def serve(self):
        while True:
            frame = self.channel.read_frame()
            if frame is None or frame.type == frames.UNLOAD:
                self.channel.flush()
                return
            if frame.type != frames.CALL:
                raise FrameError("a second LOAD")
            if not self.channel.claim(frame):
                self.skip(frame)
                continue
            self.answer(frame)
            if self.flags & frames.ANSWER_LAST:
                self.channel.flush()
                return
            self.flags = 0

    def skip(self, frame):
        """The call was withdrawn, and that is said already."""

    def answer(self, frame):
        channel = self.channel
        if self.load_failure is not None or frame.body is None:
            failure = self.load_failure or describe(MemoryError("the payload did not fit"), self.function)
            channel.answer_failure(frame, self.flags, 0, 0, failure)
            return
        self.run_call(frame, monotonic_ns())

    def run_call(self, frame, claimed):
        channel = self.channel
        started = claimed
        timeout_ms = self.function.timeout_ms
        failure = None
        head = output = b""
        try:
            call = make_call(frame)
            call.deadline_ns = claimed + timeout_ms * NANOSECONDS_MS
            call.deadline_ms = time_ns() // NANOSECONDS_MS + timeout_ms
            set_call(call.id, call.deadline_ms)
            prepared = self.entry.prepare(call)
            started = monotonic_ns()
            head, output = self.entry.run(prepared)
            if len(output) > self.function.output_bytes:
                raise output_limit(self.function)
        except BaseException as error:
            failure = describe(error, self.function)
            prepared = None
        now = monotonic_ns()
        if not channel.owned:
            self.end_child(failure)
        flush(self.streams)
        if sys.stdout is not self.streams[0]:
            flush((sys.stdout,))
        if failure is None:
            channel.answer(frame, self.flags, started - claimed, now - started, now, head, output)
            if now - channel.unsent_since >= FLUSH_NS:
                channel.flush()
        else:
            channel.answer_failure(frame, self.flags, started - claimed, now - started, failure)

    def end_child(self, failure):
        """A child that the user's code forked and that came back here ends; the call is its parent's."""
        if self.channel.owned:
            return
        flush(self.streams)
        if failure is not None and failure.log:
            sys.stderr.write(failure.log)
            flush((sys.stderr,))
        exit_code = 0
        if failure is not None:
            exit_code = failure.exit_code if failure.code == frames.ERR_EXIT else 1
        os._exit(exit_code)

    def close(self):
        import atexit

        if self.entry is not None:
            self.entry.close()
        atexit._run_exitfuncs()
        flush(self.streams)
        # Not the interpreter's own end: it would wait for the user's threads.
        os._exit(0)


def make_server(channel, function, load):
    if not function.is_isolated:
        channel.greedy = True
        return Server(channel, function, load)
    from faas_runtime.isolated import make_isolated

    return make_isolated(Server)(channel, function, load)


def run_script(channel, function, source):
    frame = channel.read_frame()
    if frame is None or frame.type != frames.CALL:
        return
    channel.claim(frame)
    claimed = monotonic_ns()
    call = make_call(frame)
    call.deadline_ns = claimed + function.timeout_ms * NANOSECONDS_MS
    call.deadline_ms = time_ns() // NANOSECONDS_MS + function.timeout_ms
    channel.owned = False
    channel.close()
    script.run(function, source, call)


def main():
    set_name("spare-python")
    # Stacks count against the memory limit as a whole, and the C library's own choice are 8 MiB.
    stack_size(THREAD_STACK_BYTES)
    complete_interpreter()
    channel = Channel()
    gc.freeze()
    try:
        load = channel.read_frame()
        if load is None:
            return
        if load.type != frames.LOAD:
            raise FrameError("a frame before LOAD")
        set_name("worker-python")
        function = Function(load)
        for name, value in function.environment.items():
            environb[name.encode("latin-1")] = value.encode("latin-1")
        if function.entry == "script":
            run_script(channel, function, load.body)
            return
        channel.map_page()
        environment.start()
        server = make_server(channel, function, load)
        server.evaluate(load.body)
        server.serve()
        server.close()
    except FrameError as error:
        sys.stderr.write(f"faas: {error}\n")
        flush((sys.stderr,))
        os._exit(EXIT_PROTOCOL)

"""What an exception of the user's code means: code, message for people, traceback without the platform's frames."""

import sys
from errno import EAGAIN

from faas_runtime import frames

FOLDER = __file__.rpartition("/")[0] + "/"
# A function whose code calls one of these by name, and which was the last on the stack, could not fork.
FORK_NAMES = frozenset(("fork", "forkpty", "fork_exec", "_fork_exec", "posix_spawn", "posix_spawnp"))


class BadAnswer(Exception):
    """The function answered, with something that cannot be sent."""


class OutputLimit(Exception):
    """The output is over limit.output_mb."""


class Failure:
    __slots__ = ("code", "exit_code", "message", "log")

    def __init__(self, code, message, log="", exit_code=0):
        self.code = code
        self.exit_code = exit_code
        self.message = message
        self.log = log


def output_limit(function):
    return OutputLimit(f"the output is over the limit of {function.output_bytes >> 20} MiB")


def describe(error, function):
    """Never raises: an exception whose own methods raise is named by its type."""
    if isinstance(error, SystemExit):
        return describe_exit(error)
    if isinstance(error, (BadAnswer, OutputLimit)):
        code = frames.ERR_BAD_ANSWER if isinstance(error, BadAnswer) else frames.ERR_OUTPUT
        return Failure(code, str(error), f"{error}\n")
    code = frames.ERR_EXCEPTION
    if isinstance(error, MemoryError):
        code = frames.ERR_OOM
        release(error)
    elif is_process_limit(error):
        code = frames.ERR_PROCESSES
    return Failure(code, message_of(error), traceback_of(error, function))


def describe_exit(error):
    value = error.code
    if value is None:
        exit_code = 0
    elif isinstance(value, int):
        exit_code = value & 0xFF
    else:
        exit_code = 1
    log = ""
    if value is not None and not isinstance(value, int):
        try:
            log = f"{value}\n"
        except Exception:
            log = ""
    return Failure(frames.ERR_EXIT, f"the function exited with code {exit_code}", log, exit_code)


def is_process_limit(error):
    if isinstance(error, RuntimeError):
        return error.args == ("can't start new thread",)
    if not isinstance(error, OSError) or error.errno != EAGAIN:
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and not FORK_NAMES.isdisjoint(traceback.tb_frame.f_code.co_names)


def release(error):
    """Frees what the frames of the traceback hold: after a MemoryError there is little room to report it in."""
    traceback = error.__traceback__
    while traceback is not None:
        try:
            traceback.tb_frame.clear()
        except RuntimeError:
            pass  # still running: one of the platform's
        traceback = traceback.tb_next


def message_of(error):
    name = type(error).__qualname__
    try:
        text = str(error)
    except BaseException:
        return name
    return f"{name}: {text}" if text else name


def user_part(traceback, function):
    """The traceback from the user's first frame on; without the platform's own where there is none."""
    step = traceback
    while step is not None:
        if step.tb_frame.f_code.co_filename == function.file_name:
            return step
        step = step.tb_next
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(FOLDER):
        traceback = traceback.tb_next
    return traceback


def traceback_of(error, function):
    try:
        from traceback import TracebackException

        part = user_part(error.__traceback__, function)
        return "".join(TracebackException(type(error), error, part, compact=True).format())
    except BaseException:
        return message_of(error) + "\n"


def report_uncaught(error, function):
    """What the interpreter does with an exception that nobody caught, without the platform's frames."""
    part = user_part(error.__traceback__, function)
    try:
        sys.excepthook(type(error), error.with_traceback(part), part)
    except SystemExit:
        raise
    except BaseException as hook_error:
        sys.stderr.write("Error in sys.excepthook:\n" + traceback_of(hook_error, function))
        sys.stderr.write("\nOriginal exception was:\n" + traceback_of(error, function))


def make_excepthook(function):
    def excepthook(_type, error, _traceback):
        sys.stderr.write(traceback_of(error, function))

    return excepthook

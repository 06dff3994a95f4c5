"""Frames on descriptors 3 and 4, and the page on descriptor 5: src/wire/frame.h and src/wire/page.h."""

import os
from struct import Struct

FORMAT = 1
LENGTH_MAX = 1200 << 20
LOG_MAX = 256 << 10
ERROR_MAX = 4096

LOAD, UNLOAD, CALL, ANSWER, LOADED = 1, 2, 3, 4, 5

# The codes of src/base/err_table.h that an ANSWER of a Python process can carry.
ERR_OK, ERR_EXIT, ERR_EXCEPTION, ERR_OUTPUT, ERR_PROCESSES, ERR_BAD_ANSWER, ERR_OOM = 0, 19, 20, 22, 23, 26, 30

ANSWER_COLD = 1

IN, OUT, PAGE = 3, 4, 5
PAGE_BYTES = 4096
READ_BYTES = 64 << 10

header_struct = Struct("<IBBHQIIQ")
answer_struct = Struct("<IBBHQIIQIiIIIIQQ")
HEADER_BYTES = header_struct.size
FIXED_BYTES = answer_struct.size - HEADER_BYTES

# Kept from before the user's code runs: what it does to these modules must not break its own later calls.
read, readv, write, writev, pwrite = os.read, os.readv, os.write, os.writev, os.pwrite


class FrameError(Exception):
    """What came is no frame of ours. The process ends."""


class Frame:
    """`head` is text in latin-1: one character a byte. `body` is bytes, or None when it did not fit into memory."""

    __slots__ = ("type", "slot", "call_id", "key", "head", "body")

    def __init__(self, type_, slot, call_id, key, head, body):
        self.type = type_
        self.slot = slot
        self.call_id = call_id
        self.key = key
        self.head = head
        self.body = body


def parse_head(head):
    """Splits a head into its variables (dict) and its headers (list of name and value, in order)."""
    variables = {}
    headers = []
    for entry in head.split("\0"):
        name, equals, value = entry.partition("=")
        if name[:2] == "h:":
            headers.append((name[2:], value))
        elif equals:
            variables[name] = value
    return variables, headers


class Channel:
    def __init__(self):
        self.pending = b""
        self.started = None
        self.owned = True
        for fd in (IN, OUT, PAGE):
            os.set_inheritable(fd, False)
        os.register_at_fork(after_in_child=self.disown)

    def disown(self):
        """A forked child has no part in the frames, and must not keep the pipes open."""
        if self.owned:
            self.owned = False
            self.close()

    def close(self):
        for fd in (IN, OUT, PAGE):
            try:
                os.close(fd)
            except OSError:
                pass

    def map_page(self):
        """Maps the page, so that a claim is one store and no system call."""
        import mmap

        self.started = memoryview(mmap.mmap(PAGE, PAGE_BYTES)).cast("Q")

    def claim(self, call_id):
        """Says that this call starts now; src/wire/page.h."""
        if self.started is not None:
            self.started[0] = call_id
        else:
            pwrite(PAGE, call_id.to_bytes(8, "little"), 0)

    def read_some(self):
        while True:
            try:
                return read(IN, READ_BYTES)
            except BlockingIOError:
                os.set_blocking(IN, True)

    def read_frame(self):
        """The next frame, or None at the end of the input. Blocks."""
        data = self.pending
        while len(data) < HEADER_BYTES:
            more = self.read_some()
            if not more:
                if data:
                    raise FrameError("the input ended inside a frame")
                return None
            data = data + more if data else more
        length, type_, format_, slot, call_id, key, head_len, _ = header_struct.unpack_from(data)
        if format_ != FORMAT or type_ not in (LOAD, UNLOAD, CALL):
            raise FrameError(f"no frame of ours: format {format_}, type {type_}")
        if length > LENGTH_MAX or head_len > length:
            raise FrameError(f"no frame of ours: length {length}, head {head_len}")
        if type_ == CALL and call_id == 0:
            raise FrameError("a call without an id")
        end = HEADER_BYTES + length
        head_end = HEADER_BYTES + head_len
        if len(data) >= end:
            self.pending = data[end:]
            head = data[HEADER_BYTES:head_end]
            body = data[head_end:end]
        else:
            self.pending = b""
            head, body = self.read_rest(data, head_len, length - head_len)
        return Frame(type_, slot, call_id, key, head.decode("latin-1"), body)

    def read_rest(self, data, head_len, body_len):
        """The head and body of a frame of which `data` is the front."""
        head_end = HEADER_BYTES + head_len
        while len(data) < head_end:
            more = self.read_some()
            if not more:
                raise FrameError("the input ended inside a frame")
            data += more
        head = data[HEADER_BYTES:head_end]
        if len(data) >= head_end + body_len:
            end = head_end + body_len
            self.pending = data[end:]
            return head, data[head_end:end]
        front = data[head_end:]
        try:
            body = bytearray(body_len)
        except MemoryError:
            self.skip(body_len - len(front))
            return head, None
        body[: len(front)] = front
        self.read_into(memoryview(body)[len(front) :])
        try:
            return head, bytes(body)
        except MemoryError:
            return head, None

    def read_into(self, view):
        while view:
            try:
                count = readv(IN, [view])
            except BlockingIOError:
                os.set_blocking(IN, True)
                continue
            if count == 0:
                raise FrameError("the input ended inside a frame")
            view = view[count:]

    def skip(self, count):
        while count > 0:
            scratch = memoryview(bytearray(min(count, READ_BYTES)))
            self.read_into(scratch)
            count -= len(scratch)

    def write_all(self, parts):
        """One system call where the pipe has room for all."""
        total = sum(map(len, parts))
        if total <= READ_BYTES:
            parts = [b"".join(parts)]
        while True:
            try:
                count = write(OUT, parts[0]) if len(parts) == 1 else writev(OUT, parts)
            except BlockingIOError:
                os.set_blocking(OUT, True)
                continue
            if count == total:
                return
            total -= count
            rest = []
            for part in parts:
                if count >= len(part):
                    count -= len(part)
                else:
                    rest.append(memoryview(part)[count:])
                    count = 0
            parts = rest

    def loaded(self, frame):
        self.write_all([header_struct.pack(0, LOADED, FORMAT, 0, 0, frame.key, 0, 0)])

    def answer(self, frame, flags, start_ns, run_ns, head=b"", output=b""):
        self.write_all(
            (
                answer_struct.pack(
                    FIXED_BYTES + len(head) + len(output),
                    ANSWER,
                    FORMAT,
                    frame.slot,
                    frame.call_id,
                    frame.key,
                    0,
                    0,
                    ERR_OK,
                    0,
                    len(head),
                    len(output),
                    0,
                    flags,
                    start_ns,
                    run_ns,
                ),
                head,
                output,
            )
        )

    def answer_failure(self, frame, flags, start_ns, run_ns, failure):
        text = failure.message[:ERROR_MAX].replace("\0", "\\x00")
        head = b"error=" + text.encode("utf-8", "replace") + b"\0"
        log = failure.log.encode("utf-8", "backslashreplace")[-LOG_MAX:]
        self.write_all(
            (
                answer_struct.pack(
                    FIXED_BYTES + len(head) + len(log),
                    ANSWER,
                    FORMAT,
                    frame.slot,
                    frame.call_id,
                    frame.key,
                    0,
                    0,
                    failure.code,
                    failure.exit_code,
                    len(head),
                    0,
                    len(log),
                    flags,
                    start_ns,
                    run_ns,
                ),
                head,
                log,
            )
        )

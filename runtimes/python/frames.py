"""Frames on descriptors 3 and 4, and the page on descriptor 5: src/wire/frame.h and src/wire/page.h."""

import os
from struct import Struct

FORMAT = 1
LENGTH_MAX = 1200 << 20
LOG_MAX = 256 << 10
ERROR_MAX = 4096

LOAD, UNLOAD, CALL, ANSWER, LOADED, SKIPPED = 1, 2, 3, 4, 5, 6

# The codes of src/base/err_table.h that an ANSWER of a Python process can carry.
ERR_OK, ERR_EXIT, ERR_EXCEPTION, ERR_OUTPUT, ERR_PROCESSES, ERR_CRASH, ERR_BAD_ANSWER, ERR_OOM = 0, 19, 20, 22, 23, 25, 26, 30

ANSWER_COLD, ANSWER_LAST = 1, 2

IN, OUT, PAGE = 3, 4, 5
READ_BYTES = 64 << 10

# src/wire/page.h: words of 8 bytes, and the outbox behind them.
PAGE_BYTES = 4096
WITHDRAWN, STARTED, OUTBOX_AT, OUTBOX_LEN = 0, 128, 129, 130
OUTBOX_OFFSET = 1048
OUTBOX_BYTES = 3040

header_struct = Struct("<IBBHQIIQ")
# Header and front of an ANSWER; x are fields that are 0.
answer_struct = Struct("<IBBHQI12xIiIIIIQQ")
success_struct = Struct("<IHHQI20xII4xIQQ")
ANSWER_FORMAT = ANSWER | FORMAT << 8
HEADER_BYTES = header_struct.size
FIXED_BYTES = answer_struct.size - HEADER_BYTES

# Kept from before the user's code runs: what it does to these modules must not break its own later calls.
read, readv, write, writev, pwrite = os.read, os.readv, os.write, os.writev, os.pwrite
unpack_header, pack_header = header_struct.unpack_from, header_struct.pack
pack_answer, pack_success = answer_struct.pack, success_struct.pack
pack_word = Struct("<Q").pack


class FrameError(Exception):
    """What came is no frame of ours. The process ends."""


class Frame:
    """`head` is text in latin-1: one character a byte. `body` is bytes, or None when it did not fit into memory.
    `number`: of a CALL, its place among the calls of this process, from 1."""

    __slots__ = ("type", "slot", "call_id", "key", "head", "body", "number")


def parse_head(head):
    """Splits a head into its variables (dict) and its headers (list of name and value, in order)."""
    first, *rest = head.split("\0h:") if head[:2] != "h:" else ("\0" + head).split("\0h:")
    variables = dict([entry.split("=", 1) for entry in first.split("\0") if "=" in entry])
    headers = []
    for entry in rest:
        name, _, value = entry.partition("=")
        if "\0" in value:  # the end of the head, or further variables
            value, _, more = value.partition("\0")
            variables.update([entry.split("=", 1) for entry in more.split("\0") if "=" in entry])
        headers.append((name, value))
    return variables, headers


def write_all(parts, total):
    """One system call where the pipe has room for all."""
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


class Channel:
    def __init__(self):
        self.data = b""  # what was read; from `at` on it is not consumed
        self.at = 0
        self.calls = 0
        self.words = None  # the page
        self.outbox = None
        self.unsent = 0  # bytes in the outbox
        self.unsent_since = 0  # by the clock of the first of them
        self.written = 0  # bytes that went through the pipe
        self.owned = True
        self.has_pipes = True
        self.greedy = False  # may read more than is asked for
        for fd in (IN, OUT, PAGE):
            os.set_inheritable(fd, False)
        os.register_at_fork(after_in_child=self.disown)

    def disown(self):
        """A forked child has no part in the frames, and must not keep the pipes open."""
        self.owned = False
        if self.has_pipes:
            self.close()

    def close(self):
        self.has_pipes = False
        for fd in (IN, OUT, PAGE):
            try:
                os.close(fd)
            except OSError:
                pass

    def map_page(self):
        """Maps the page, so that a claim is one store and no system call."""
        import mmap

        self.page = mmap.mmap(PAGE, PAGE_BYTES)
        page = memoryview(self.page)
        self.words = page.cast("Q")
        self.outbox = page[OUTBOX_OFFSET:]

    def unmap_page(self):
        self.words.release()
        self.outbox.release()
        self.page.close()

    def claim(self, frame):
        """Says that this call starts now. False: it was withdrawn and must not run; src/wire/page.h."""
        words = self.words
        if words is None:
            pwrite(PAGE, pack_word(frame.number), STARTED * 8)
            return True
        words[STARTED] = frame.number
        if words[WITHDRAWN] < frame.number:
            return True
        self.put(
            pack_header(8, SKIPPED, FORMAT, frame.slot, frame.call_id, frame.key, 0, 0) + pack_word(frame.number), 0
        )
        return False

    def fill(self, wanted):
        """Reads until there are so many bytes; fewer at the end of the input. Blocks, so nothing stays unsent."""
        if self.unsent:
            self.flush()
        data = self.data[self.at :]
        self.at = 0
        while len(data) < wanted:
            try:
                more = read(IN, READ_BYTES if self.greedy else wanted - len(data))
            except BlockingIOError:
                os.set_blocking(IN, True)
                continue
            if not more:
                break
            data = data + more if data else more
        self.data = data
        return data

    def read_frame(self):
        """The next frame, or None at the end of the input. Blocks."""
        data, at = self.data, self.at
        if len(data) - at < HEADER_BYTES:
            data, at = self.fill(HEADER_BYTES), 0
            if len(data) < HEADER_BYTES:
                if data:
                    raise FrameError("the input ended inside a frame")
                return None
        frame = Frame()
        length, frame.type, format_, frame.slot, frame.call_id, frame.key, head_len, _ = unpack_header(data, at)
        if format_ != FORMAT or frame.type not in (CALL, LOAD, UNLOAD):
            raise FrameError(f"no frame of ours: format {format_}, type {frame.type}")
        if length > LENGTH_MAX or head_len > length:
            raise FrameError(f"no frame of ours: length {length}, head {head_len}")
        if frame.type == CALL:
            if frame.call_id == 0:
                raise FrameError("a call without an id")
            self.calls = frame.number = self.calls + 1
        head_at = at + HEADER_BYTES
        body_at = head_at + head_len
        end = head_at + length
        if len(data) >= end:
            self.at = end
            frame.head = data[head_at:body_at].decode("latin-1")
            frame.body = data[body_at:end]
        else:
            self.read_rest(frame, HEADER_BYTES + head_len, length - head_len)
        return frame

    def read_rest(self, frame, body_at, body_len):
        """The head and body of a frame of which there is only the front."""
        data = self.fill(body_at)
        if len(data) < body_at:
            raise FrameError("the input ended inside a frame")
        frame.head = data[HEADER_BYTES:body_at].decode("latin-1")
        frame.body = None
        front = data[body_at : body_at + body_len]
        self.at = body_at + len(front)
        try:
            body = bytearray(body_len)
        except MemoryError:
            self.skip(body_len - len(front))
            return
        body[: len(front)] = front
        self.read_into(memoryview(body)[len(front) :])
        try:
            frame.body = bytes(body)
        except MemoryError:
            pass

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

    def put(self, data, now):
        """A whole frame, to be sent by the next flush. `now`: by the clock that flush_due goes by."""
        unsent = self.unsent + len(data)
        if unsent > OUTBOX_BYTES:
            self.flush()
            unsent = len(data)
            if unsent > OUTBOX_BYTES:
                self.send((data,))
                return
        if self.unsent == 0:
            self.unsent_since = now
        self.outbox[self.unsent : unsent + 8] = data + pack_word(self.written + unsent)
        self.words[OUTBOX_LEN] = self.unsent = unsent

    def flush(self):
        if self.unsent:
            write_all((self.outbox[: self.unsent],), self.unsent)
            self.written += self.unsent
            self.unsent = self.words[OUTBOX_LEN] = 0
            self.words[OUTBOX_AT] = self.written

    def send(self, parts):
        """Past the outbox."""
        self.flush()
        total = sum(map(len, parts))
        write_all(parts, total)
        self.words[OUTBOX_AT] = self.written = self.written + total

    def send_file(self, fd, size):
        self.flush()
        at = 0
        while at < size:
            try:
                at += os.sendfile(OUT, fd, at, size - at)
            except BlockingIOError:
                os.set_blocking(OUT, True)
        self.words[OUTBOX_AT] = self.written = self.written + size

    def loaded(self, frame):
        self.send((pack_header(0, LOADED, FORMAT, 0, 0, frame.key, 0, 0),))

    def answer(self, frame, flags, start_ns, run_ns, now, head=b"", output=b""):
        length = FIXED_BYTES + len(head) + len(output)
        front = pack_success(
            length,
            ANSWER_FORMAT,
            frame.slot,
            frame.call_id,
            frame.key,
            len(head),
            len(output),
            flags,
            start_ns,
            run_ns,
        )
        if length <= OUTBOX_BYTES - HEADER_BYTES:
            self.put(front + head + output, now)
        else:
            self.send((front, head, output))

    def answer_failure(self, frame, flags, start_ns, run_ns, failure):
        text = failure.message[:ERROR_MAX].replace("\0", "\\x00")
        head = b"error=" + text.encode("utf-8", "replace") + b"\0"
        log = failure.log.encode("utf-8", "backslashreplace")[-LOG_MAX:]
        front = pack_answer(
            FIXED_BYTES + len(head) + len(log),
            ANSWER,
            FORMAT,
            frame.slot,
            frame.call_id,
            frame.key,
            failure.code,
            failure.exit_code,
            len(head),
            0,
            len(log),
            flags,
            start_ns,
            run_ns,
        )
        self.send((front, head, log))

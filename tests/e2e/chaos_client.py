"""A fast client for the chaos test: calls from many keep-alive connections, every answer checked against its call."""

import asyncio
import json
import multiprocessing
import time


class Connection(asyncio.Protocol):
    """One connection: sends a call, checks its answer, sends the next, until the numbers run out."""

    def __init__(self, run):
        self.run, self.buffer, self.number, self.function = run, bytearray(), None, None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.next()

    def next(self):
        self.number = next(self.run.numbers, None)
        if self.number is None:
            self.transport.close()
            return
        self.function = self.run.functions[self.number % len(self.run.functions)]
        body = b"%d" % self.number
        self.transport.write(b"POST /invoke?fn=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                             % (self.function, len(body), body))  # fmt: skip

    def data_received(self, data):
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer.lower().index(b"content-length:", 0, end + 2) + 15
        length = int(self.buffer[at : self.buffer.index(b"\r\n", at)])
        if len(self.buffer) < end + 4 + length:
            return
        head, body = bytes(self.buffer[:end]), bytes(self.buffer[end + 4 : end + 4 + length])
        surplus = bytes(self.buffer[end + 4 + length :])
        self.buffer.clear()
        if surplus or self.number is None:
            self.run.wrong.append(f"bytes that no call asked for: {surplus or head!r}")
        self.run.take(self.number, int(head[9:12]), body)
        self.next()

    def connection_lost(self, error):
        if self.number is not None:
            self.run.wrong.append(f"connection lost during call {self.number}: {error}")
        self.done.set_result(None)


class Run:
    def __init__(self, functions, numbers):
        self.functions, self.numbers = [name.encode() for name in functions], iter(numbers)
        self.good, self.crashed, self.wrong = 0, 0, []

    def take(self, number, status, body):
        if status == 200 and body == b'{"ok":true,"output":"%d"}' % number:
            self.good += 1
        elif status == 502 and json.loads(body)["cause"] == "crash":
            self.crashed += 1
        else:
            self.wrong.append(f"call {number}: {status} {body[:300]!r}")

    async def go(self, address, connections):
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Connection(self), *address) for _ in range(connections)]
        await asyncio.gather(*(protocol.done for _, protocol in made))


def client(address, functions, numbers, connections, results):
    run = Run(functions, numbers)
    begun = time.monotonic()
    asyncio.run(run.go(address, connections))
    results.put((run.good, run.crashed, run.wrong, time.monotonic() - begun))


def start(address, functions, calls, connections, processes=2):
    """Starts the clients. finish() waits for them: (good, crashed, [what went wrong], seconds)."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    started = [
        context.Process(target=client, daemon=True, args=(
            address, functions, range(index, calls, processes), connections // processes, results))
        for index in range(processes)
    ]  # fmt: skip
    for process in started:
        process.start()

    def finish(timeout_s):
        parts = [results.get(timeout=timeout_s) for _ in started]
        for process in started:
            process.join()
        good, crashed, wrong, seconds = zip(*parts)
        return sum(good), sum(crashed), sum(wrong, []), max(seconds)

    def is_running():
        return any(process.is_alive() for process in started)

    return [process.pid for process in started], is_running, finish

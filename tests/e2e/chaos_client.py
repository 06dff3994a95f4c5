"""A fast client for the tests of chaos and of restarts: calls from many keep-alive connections, every answer checked
against its call."""

import array
import asyncio
import itertools
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
        self.sent = time.monotonic()
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
        self.run.seconds.append(time.monotonic() - self.sent)
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
        self.good, self.crashed, self.wrong, self.seconds = 0, 0, [], array.array("d")

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


def client(address, functions, numbers, connections, results, stop=None, begun_count=None):
    def until_told():
        for number in itertools.count(numbers[0], numbers[1]):
            if stop.is_set():
                return
            if number == numbers[0] + 200 * numbers[1]:
                with begun_count:
                    begun_count.value += 1
            yield number

    run = Run(functions, until_told() if stop else numbers)
    begun = time.monotonic()
    asyncio.run(run.go(address, connections))
    took = time.monotonic() - begun
    results.put((run.good, run.crashed, run.wrong, run.seconds if stop else took))


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


class Load:
    """Calls without end, from `connections` keep-alive connections: `with Load(…) as load:`, then load.result."""

    def __init__(self, address, functions, connections=64, processes=2):
        context = multiprocessing.get_context("spawn")
        self.stop, self.results, self.begun = context.Event(), context.Queue(), context.Value("i", 0)
        self.clients = [
            context.Process(target=client, daemon=True, args=(
                address, functions, (index, processes), connections // processes, self.results, self.stop, self.begun))
            for index in range(processes)
        ]  # fmt: skip

    def __enter__(self):
        for process in self.clients:
            process.start()
        deadline = time.monotonic() + 60
        while self.begun.value < len(self.clients):
            assert time.monotonic() < deadline, "the load does not begin"
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.stop.set()
        parts = [self.results.get(timeout=120) for _ in self.clients]
        for process in self.clients:
            process.join()
        good, crashed, wrong, seconds = zip(*parts)
        self.good, self.crashed, self.wrong = sum(good), sum(crashed), sum(wrong, [])
        self.seconds = sorted(itertools.chain(*seconds))

    def quantile(self, share):
        return self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * share))]

'use strict';
// Calls of one function, one after the other.
//
// A call whose promise settles without a turn of the event loop is served without one: handler, microtasks,
// answer and next frame in one loop. Only a call that waits for something gives control back to the event loop;
// it comes back in wake(). Between calls the process blocks in a read, so that nothing of the user's can run.

const frames = require('./frames.cjs');
const { setCall } = require('./environment.cjs');
const { callOf } = require('./http_call.cjs');
const { describe, describeExit, outputLimit, stackOf } = require('./failure.cjs');

const { CALL, ERR_OK, FrameError, UNLOAD, nowNs } = frames;

const EXIT_PROTOCOL = 70;

// Names of this file, so that a function that takes the globals away does so for itself alone.
// Not require('process'): in Node.js 18 that reads its stdin, stdout and stderr, which opens them, and descriptor 0
// would no longer block: a script's readFileSync(0) would fail with EAGAIN.
const { process } = globalThis;
const { byteLength, from: bufferFrom } = require('buffer').Buffer;

const now = Date.now;
const runLater = setImmediate;
const afterMs = setTimeout;
// Runs the microtasks, the ticks and the checks for unhandled rejections that are due.
const runDue = typeof process._tickCallback === 'function' ? process._tickCallback.bind(process) : null;
const exit = process.reallyExit.bind(process);

function byteLengthOf(output) {
  return typeof output === 'string' ? byteLength(output) : output.length;
}

function isDone(call) {
  return call.answer !== null || call.failure !== null || call.stray !== null;
}

class Server {
  constructor(channel, fn, load) {
    this.channel = channel;
    this.fn = fn;
    this.load = load;
    this.entry = null;
    this.loadFailure = null;
    this.isLoading = true;
    this.flags = frames.ANSWER_COLD;
    this.current = null; // the call that is under way
    this.isSynchronous = false; // inside serve(), which looks at the outcome itself
    this.isWoken = false;
    this.isReading = false;
    this.busy = 0; // promises given to waitUntil that have not settled
    this.isEnding = false;
    this.watchProcess();
  }

  watchProcess() {
    process.on('unhandledRejection', (error) => {
      if (process.listenerCount('unhandledRejection') === 1) this.onStray(error);
    });
    process.on('uncaughtException', (error) => {
      if (error instanceof FrameError) this.endOnFrameError(error);
      if (process.listenerCount('uncaughtException') === 1) this.onStray(error);
      // The exception has unwound whatever was on the stack, serve() too.
      this.wake();
    });
    process.on('beforeExit', () => this.onIdle());
    process.reallyExit = (code) => this.onExit(code);
  }

  // The source was evaluated, or failed to be.
  open() {
    this.isLoading = false;
    this.channel.loaded(this.load);
    this.wake();
  }

  // Serves until a call has to wait for the event loop. Only at the bottom of the stack.
  serve() {
    if (this.isReading) return;
    try {
      for (;;) {
        if (this.busy > 0 && !this.channel.hasInput()) {
          this.readLater();
          return;
        }
        const frame = this.channel.readFrame();
        if (frame === null || frame.type === UNLOAD) {
          this.end();
          return;
        }
        if (frame.type !== CALL) throw new FrameError('a second LOAD');
        this.begin(frame);
        if (this.current !== null) {
          this.channel.flush();
          return;
        }
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.endOnFrameError(error);
    }
  }

  // While a promise of waitUntil has work to do, the next frame is waited for in the event loop.
  readLater() {
    this.isReading = true;
    this.channel.readLater(() => {
      this.isReading = false;
      this.serve();
    });
  }

  begin(frame) {
    const claimed = this.channel.claim(frame);
    if (claimed === 0) return;
    const call = {
      frame,
      claimed,
      started: claimed,
      ended: claimed,
      request: null,
      isSettled: false, // the handler has returned, or its promise has settled
      answer: null,
      failure: null,
      stray: null, // failure by an unhandled rejection or an uncaught exception: it counts before the two others
    };
    this.current = call;
    if (this.loadFailure !== null || frame.body === null) {
      call.failure = this.loadFailure ?? describe(new RangeError('Array buffer allocation failed'), this.fn);
      this.answer(call);
      return;
    }
    this.settleDue(call);
    if (!isDone(call)) return;
    if (runDue !== null) this.answer(call);
    else this.wake();
  }

  // Runs the call, or only what is due when there is none to run. An exception out of here is an uncaught one, and
  // goes its way as such.
  settleDue(call) {
    this.isSynchronous = true;
    try {
      if (call !== null) this.run(call);
      if (runDue !== null) runDue();
    } finally {
      this.isSynchronous = false;
    }
  }

  run(call) {
    try {
      const request = callOf(call.frame);
      call.request = request;
      request.deadlineMs = now() + this.fn.timeoutMs;
      setCall(request.id, request.deadlineMs);
      const settle = { resolve: (value) => this.resolve(call, value), reject: (error) => this.reject(call, error) };
      const prepared = this.entry.prepare(request, settle);
      call.started = nowNs();
      const value = this.entry.run(prepared);
      if (typeof value?.then === 'function') value.then(settle.resolve, settle.reject);
      else if (!this.entry.waits) this.resolve(call, value);
    } catch (error) {
      this.reject(call, error);
    }
  }

  // The handler has its value; what is sent of it may have to be read first.
  resolve(call, value) {
    if (call.isSettled) return;
    call.isSettled = true;
    try {
      const result = this.entry.finish(value, call.request);
      if (typeof result.then !== 'function') this.finish(call, result);
      else result.then((answer) => this.finish(call, answer), (error) => this.fail(call, describe(error, this.fn)));
    } catch (error) {
      this.fail(call, describe(error, this.fn));
    }
  }

  reject(call, error) {
    if (call.isSettled) return;
    call.isSettled = true;
    this.fail(call, describe(error, this.fn));
  }

  finish(call, answer) {
    if (byteLengthOf(answer.output) > this.fn.outputBytes) {
      this.fail(call, describe(outputLimit(this.fn), this.fn));
      return;
    }
    call.answer = answer;
    call.ended = nowNs();
    if (!this.isSynchronous) this.wake();
  }

  fail(call, failure) {
    call.failure = failure;
    call.ended = nowNs();
    if (!this.isSynchronous) this.wake();
  }

  answer(call) {
    const { frame, answer } = call;
    const failure = call.stray ?? call.failure;
    // A handler that has not settled is still at work, and would be in the next call's way.
    const isLast = (call.stray !== null && !call.isSettled) || process._exiting === true;
    const result = {
      code: failure === null ? ERR_OK : failure.code,
      exitCode: failure === null ? 0 : failure.exitCode,
      flags: this.flags | (isLast ? frames.ANSWER_LAST : 0),
      startNs: call.started - call.claimed,
      runNs: Math.max(0, call.ended - call.started),
    };
    this.current = null;
    this.flags = 0;
    if (failure === null) {
      this.channel.answer(frame, result, answer.head, answer.output, false, call.ended);
      return;
    }
    const text = failure.message.slice(0, frames.ERROR_MAX).replaceAll('\0', '\\x00');
    const head = `error=${bufferFrom(text, 'utf8').latin1Slice()}\0`;
    const log = bufferFrom(failure.log, 'utf8');
    this.channel.answer(frame, result, head, log.subarray(-frames.LOG_MAX), true, call.ended);
    this.channel.flush();
    if (isLast && !process._exiting) process.reallyExit(0);
  }

  // Goes on at the bottom of the stack, after the rejections that are due were seen.
  wake() {
    if (this.isWoken || this.isLoading) return;
    this.isWoken = true;
    runLater(() => {
      this.isWoken = false;
      const call = this.current;
      if (call !== null) {
        // An exception that unwound the stack has kept back what was due; it may settle the handler's promise.
        if (call.stray !== null) this.settleDue(null);
        if (!isDone(call)) return;
        this.answer(call);
      }
      if (!this.isEnding) this.serve();
    });
  }

  // An unhandled rejection or an uncaught exception.
  onStray(error) {
    const call = this.current;
    if (this.isLoading) {
      this.loadFailure ??= describe(error, this.fn);
    } else if (call === null) {
      process.stderr.write(`${stackOf(error, this.fn)}\n`);
    } else {
      call.stray ??= describe(error, this.fn);
      call.ended = nowNs();
      if (!this.isSynchronous) this.wake();
    }
  }

  // The event loop has nothing left that could settle anything.
  onIdle() {
    const call = this.current;
    if (this.isLoading) {
      this.loadFailure = describe(new Error('a top-level await never settled'), this.fn);
      this.open();
    } else if (call !== null && !isDone(call)) {
      const what = call.isSettled ? 'body of the Response never ended' : "handler's promise never settled";
      call.isSettled = true;
      this.fail(call, describe(new Error(`the ${what}`), this.fn));
    }
  }

  // process.exit, at its end.
  onExit(code) {
    const call = this.current;
    const failure = describeExit(code ?? 0);
    if (this.isLoading) {
      this.loadFailure = failure;
      this.isLoading = false;
      this.channel.loaded(this.load);
      this.serve(); // until the end of the input: every call is answered with the failure
    } else if (call !== null) {
      call.stray = failure;
      call.ended = nowNs();
      this.answer(call);
    }
    exit(code);
  }

  // ctx.waitUntil: the answer does not wait for the promise, the process does.
  keepBusy(promise) {
    this.busy++;
    Promise.resolve(promise)
      .catch((error) => process.stderr.write(`${stackOf(error, this.fn)}\n`))
      .finally(() => {
        this.busy--;
        if (this.isEnding && this.busy === 0) exit(0);
      });
  }

  end() {
    this.channel.flush();
    this.isEnding = true;
    if (this.busy === 0) {
      process.reallyExit = exit;
      process.exit(0);
    }
    afterMs(() => exit(0), this.fn.timeoutMs);
  }

  endOnFrameError(error) {
    this.channel.flush();
    process.stderr.write(`faas: ${error.message}\n`);
    exit(EXIT_PROTOCOL);
  }
}

module.exports = { Server };

//# sourceURL=faas:server

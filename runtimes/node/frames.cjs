'use strict';
// Frames on descriptors 3 and 4, and the page on descriptor 5: src/wire/frame.h and src/wire/page.h.

const fs = require('fs');

// Kept from before the user's code runs: what it does to these modules must not break its own later calls.
const { readSync, writeSync, closeSync, read } = fs;
const { allocUnsafeSlow, from: bufferFrom } = Buffer;
const { wait } = Atomics;
const { hrtime } = process;

const FORMAT = 1;
const LENGTH_MAX = 1200 * 1024 * 1024;
const LOG_MAX = 256 * 1024;
const ERROR_MAX = 4096;
const HEADER_BYTES = 32;
const FIXED_BYTES = 40;
const FRONT_BYTES = HEADER_BYTES + FIXED_BYTES;
const BUFFER_BYTES = 64 * 1024;
const UTF8_MAX_BYTES = 3; // of one UTF-16 unit
const TWO_32 = 4294967296;

const LOAD = 1;
const UNLOAD = 2;
const CALL = 3;
const ANSWER = 4;
const LOADED = 5;
const SKIPPED = 6;

// The codes of src/base/err_table.h that an ANSWER of a Node.js process can carry.
const codes = {
  ERR_OK: 0,
  ERR_EXIT: 19,
  ERR_EXCEPTION: 20,
  ERR_OUTPUT: 22,
  ERR_PROCESSES: 23,
  ERR_BAD_ANSWER: 26,
  ERR_OOM: 30,
};
const ANSWER_COLD = 1;
const ANSWER_LAST = 2;

const IN = 3;
const OUT = 4;
const PAGE = 5;

// src/wire/page.h. What stands from `started` on is kept in a buffer of the same layout and written as a whole.
const PAGE_STARTED = 1024;
const PAGE_FRONT_BYTES = 24; // started, outbox_at, outbox_len
const OUTBOX_BYTES = 3040;
const SEAL_BYTES = 8;
const UNREAD_NS = 2e6;
const FLUSH_NS = 150e3; // an answer that is finished waits so long for others to go with it

const nap = new Int32Array(new SharedArrayBuffer(4));

// The descriptors are blocking; one that somebody made non-blocking is waited for.
function retry(error) {
  if (error.code !== 'EAGAIN' && error.code !== 'EINTR') throw error;
  wait(nap, 0, 0, 1);
}

function writeAll(fd, data, start, end) {
  while (start < end) {
    try {
      start += writeSync(fd, data, start, end - start, null);
    } catch (error) {
      retry(error);
    }
  }
}

class FrameError extends Error {}

function nowNs() {
  const time = hrtime();
  return time[0] * 1e9 + time[1];
}

// Text of `head` is latin-1: one character a byte. `body` is only valid until the next frame is read, and null
// when it did not fit into memory.
class Frame {
  constructor(type, slot, key, idLow, idHigh, head, body, number) {
    this.type = type;
    this.slot = slot;
    this.key = key;
    this.idLow = idLow;
    this.idHigh = idHigh;
    this.head = head;
    this.body = body;
    this.number = number; // of a CALL: its place among the calls of this process, from 1
  }
}

class Channel {
  constructor() {
    this.input = allocUnsafeSlow(BUFFER_BYTES);
    this.start = 0; // input[start, end) was read and is not yet consumed
    this.end = 0;
    this.output = allocUnsafeSlow(BUFFER_BYTES); // of an answer that goes past the outbox
    this.page = allocUnsafeSlow(PAGE_FRONT_BYTES + OUTBOX_BYTES + SEAL_BYTES);
    this.unsent = 0; // bytes in the outbox
    this.unsentSince = 0;
    this.written = 0; // bytes that went through the pipe
    this.calls = 0;
    this.word = allocUnsafeSlow(8);
    this.withdrawn = 0; // as it was read last, and when
    this.withdrawnAt = 0;
  }

  close() {
    for (const fd of [IN, OUT, PAGE]) closeSync(fd);
  }

  hasInput() {
    return this.end > this.start;
  }

  // Reads in the background, for as long as the event loop has to run; onInput() when there is something, or
  // the end.
  readLater(onInput) {
    this.flush();
    this.compact(0);
    read(IN, this.input, this.end, BUFFER_BYTES - this.end, null, (error, count) => {
      if (!error) this.end += count;
      onInput();
    });
  }

  compact(wanted) {
    if (this.start === this.end) {
      this.start = this.end = 0;
    } else if (this.start + wanted > BUFFER_BYTES) {
      this.input.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    }
  }

  // False at the end of the input. Blocks, so nothing stays unsent.
  readSome() {
    this.flush();
    for (;;) {
      try {
        const count = readSync(IN, this.input, this.end, BUFFER_BYTES - this.end, null);
        this.end += count;
        return count > 0;
      } catch (error) {
        retry(error);
      }
    }
  }

  fill(wanted) {
    this.compact(wanted);
    while (this.end - this.start < wanted) {
      if (!this.readSome()) throw new FrameError('the input ended inside a frame');
    }
  }

  // The next frame, or null at the end of the input. Blocks.
  readFrame() {
    this.compact(HEADER_BYTES);
    while (this.end - this.start < HEADER_BYTES) {
      if (this.readSome()) continue;
      if (this.end > this.start) throw new FrameError('the input ended inside a frame');
      return null;
    }
    const input = this.input;
    const length = input.readUInt32LE(this.start);
    const type = input[this.start + 4];
    const format = input[this.start + 5];
    const slot = input.readUInt16LE(this.start + 6);
    const idLow = input.readUInt32LE(this.start + 8);
    const idHigh = input.readUInt32LE(this.start + 12);
    const key = input.readUInt32LE(this.start + 16);
    const headLength = input.readUInt32LE(this.start + 20);
    if (format !== FORMAT || (type !== LOAD && type !== UNLOAD && type !== CALL)) {
      throw new FrameError(`no frame of ours: format ${format}, type ${type}`);
    }
    if (length > LENGTH_MAX || headLength > length) {
      throw new FrameError(`no frame of ours: length ${length}, head ${headLength}`);
    }
    if (type === CALL && idLow === 0 && idHigh === 0) throw new FrameError('a call without an id');
    let head;
    let body;
    if (HEADER_BYTES + length <= BUFFER_BYTES) {
      this.fill(HEADER_BYTES + length);
      const at = this.start + HEADER_BYTES;
      head = input.latin1Slice(at, at + headLength);
      body = input.subarray(at + headLength, at + length);
      this.start = at + length;
    } else {
      this.flush();
      this.start += HEADER_BYTES;
      const all = this.readLarge(length);
      head = all === null ? '' : all.latin1Slice(0, headLength);
      body = all === null ? null : all.subarray(headLength);
    }
    if (type === CALL) this.calls++;
    return new Frame(type, slot, key, idLow, idHigh, head, body, this.calls);
  }

  readLarge(length) {
    let all = null;
    try {
      all = allocUnsafeSlow(length);
    } catch {
      // It is read all the same, so that the next frame is found.
    }
    let done = 0;
    while (done < length) {
      if (this.start < this.end) {
        const count = Math.min(this.end - this.start, length - done);
        if (all !== null) this.input.copy(all, done, this.start, this.start + count);
        this.start += count;
        done += count;
        continue;
      }
      if (all === null) {
        this.fill(1);
        continue;
      }
      try {
        const count = readSync(IN, all, done, length - done, null);
        if (count === 0) throw new FrameError('the input ended inside a frame');
        done += count;
      } catch (error) {
        retry(error);
      }
    }
    return all;
  }

  // Says that this call starts now, with what is in the outbox. Returns the time; 0 when the call was withdrawn and
  // must not run: src/wire/page.h.
  claim(frame) {
    const { page, unsent } = this;
    putNumber(page, frame.number, 0);
    putNumber(page, this.written, 8);
    putNumber(page, unsent, 16);
    let end = PAGE_FRONT_BYTES;
    if (unsent > 0) {
      putNumber(page, this.written + unsent, end + unsent);
      end += unsent + SEAL_BYTES;
    }
    writeSync(PAGE, page, 0, end, PAGE_STARTED);
    const now = nowNs();
    if (now - this.withdrawnAt >= UNREAD_NS) {
      this.withdrawnAt = now;
      readSync(PAGE, this.word, 0, 8, 0);
      this.withdrawn = this.word.readUInt32LE(0) + this.word.readUInt32LE(4) * TWO_32;
    }
    if (frame.number > this.withdrawn) return now;
    this.skip(frame, now);
    return 0;
  }

  skip(frame, now) {
    const at = this.room(HEADER_BYTES + 8);
    putHeader(this.page, at, frame, SKIPPED, 8);
    putNumber(this.page, frame.number, at + HEADER_BYTES);
    this.added(HEADER_BYTES + 8, now);
  }

  // Where in the page so many bytes of the outbox can be written.
  room(length) {
    if (this.unsent + length > OUTBOX_BYTES) this.flush();
    return PAGE_FRONT_BYTES + this.unsent;
  }

  added(length, now) {
    if (this.unsent === 0) this.unsentSince = now;
    this.unsent += length;
    if (now - this.unsentSince >= FLUSH_NS) this.flush();
  }

  flush() {
    const { unsent } = this;
    if (unsent === 0) return;
    writeAll(OUT, this.page, PAGE_FRONT_BYTES, PAGE_FRONT_BYTES + unsent);
    this.written += unsent;
    this.unsent = 0;
  }

  send(data, end) {
    writeAll(OUT, data, 0, end);
    this.written += end;
  }

  loaded(frame) {
    putHeader(this.output, 0, frame, LOADED, 0);
    this.send(this.output, HEADER_BYTES);
  }

  // `head` is latin-1; `body`, a string or bytes, is the output, or the log of a call that failed.
  answer(frame, result, head, body, isLog, now) {
    const bound = FRONT_BYTES + head.length + (typeof body === 'string' ? body.length * UTF8_MAX_BYTES : body.length);
    if (bound > OUTBOX_BYTES) {
      this.answerLarge(frame, result, head, body, isLog, bound);
      return;
    }
    const at = this.room(bound);
    this.added(putAnswer(this.page, at, frame, result, head, body, isLog), now);
  }

  // Past the outbox.
  answerLarge(frame, result, head, body, isLog, bound) {
    this.flush();
    if (bound <= BUFFER_BYTES) {
      this.send(this.output, putAnswer(this.output, 0, frame, result, head, body, isLog));
      return;
    }
    const parts = [bufferFrom(head, 'latin1'), typeof body === 'string' ? bufferFrom(body, 'utf8') : body];
    putFront(this.output, 0, frame, result, head.length, parts[1].length, isLog);
    this.send(this.output, FRONT_BYTES);
    for (const part of parts) this.send(part, part.length);
  }
}

// An integer as a word of 64 bits.
function putNumber(output, value, at) {
  const high = Math.floor(value / TWO_32);
  output.writeUInt32LE(value - high * TWO_32, at);
  output.writeUInt32LE(high, at + 4);
}

function putHeader(output, at, frame, type, length) {
  output.writeUInt32LE(length, at);
  output[at + 4] = type;
  output[at + 5] = FORMAT;
  output.writeUInt16LE(frame.slot, at + 6);
  output.writeUInt32LE(frame.idLow, at + 8);
  output.writeUInt32LE(frame.idHigh, at + 12);
  output.writeUInt32LE(frame.key, at + 16);
  output.fill(0, at + 20, at + HEADER_BYTES);
}

function putFront(output, at, frame, result, headLength, bodyLength, isLog) {
  putHeader(output, at, frame, ANSWER, FIXED_BYTES + headLength + bodyLength);
  output.writeUInt32LE(result.code, at + 32);
  output.writeInt32LE(result.exitCode, at + 36);
  output.writeUInt32LE(headLength, at + 40);
  output.writeUInt32LE(isLog ? 0 : bodyLength, at + 44);
  output.writeUInt32LE(isLog ? bodyLength : 0, at + 48);
  output.writeUInt32LE(result.flags, at + 52);
  putNumber(output, result.startNs, at + 56);
  putNumber(output, result.runNs, at + 64);
}

// A whole ANSWER, for which there is room. Returns its length.
function putAnswer(output, at, frame, result, head, body, isLog) {
  const headAt = at + FRONT_BYTES;
  const bodyAt = headAt + head.length;
  let bodyLength = body.length;
  output.latin1Write(head, headAt, head.length);
  if (typeof body === 'string') bodyLength = output.utf8Write(body, bodyAt, output.length - bodyAt);
  else output.set(body, bodyAt);
  putFront(output, at, frame, result, head.length, bodyLength, isLog);
  return FRONT_BYTES + head.length + bodyLength;
}

// Splits a head into its variables (Map) and its headers (name, value, name, value, …).
function parseHead(head) {
  const variables = new Map();
  const headers = [];
  for (const entry of head.split('\0')) {
    const at = entry.indexOf('=');
    if (at <= 0) continue;
    const name = entry.slice(0, at);
    const value = entry.slice(at + 1);
    if (name.startsWith('h:')) headers.push(name.slice(2), value);
    else variables.set(name, value);
  }
  return { variables, headers };
}

module.exports = {
  ...codes,
  ANSWER_COLD,
  ANSWER_LAST,
  CALL,
  Channel,
  ERROR_MAX,
  FrameError,
  LOAD,
  LOG_MAX,
  UNLOAD,
  nowNs,
  parseHead,
  writeAll,
};

//# sourceURL=faas:frames

'use strict';
// Frames on descriptors 3 and 4, and the page on descriptor 5: src/wire/frame.h and src/wire/page.h.

const fs = require('fs');

// Kept from before the user's code runs: what it does to these modules must not break its own later calls.
const { readSync, writeSync, closeSync, read } = fs;
const { allocUnsafeSlow, from: bufferFrom } = Buffer;
const { wait } = Atomics;

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

// Text of `head` is latin-1: one character a byte. `body` is only valid until the next frame is read, and null
// when it did not fit into memory.
class Frame {
  constructor(type, slot, key, idLow, idHigh, head, body) {
    this.type = type;
    this.slot = slot;
    this.key = key;
    this.idLow = idLow;
    this.idHigh = idHigh;
    this.head = head;
    this.body = body;
  }
}

class Channel {
  constructor() {
    this.input = allocUnsafeSlow(BUFFER_BYTES);
    this.start = 0; // input[start, end) was read and is not yet consumed
    this.end = 0;
    this.output = allocUnsafeSlow(BUFFER_BYTES);
    this.id = allocUnsafeSlow(8);
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

  // False at the end of the input.
  readSome() {
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
      this.start += HEADER_BYTES;
      const all = this.readLarge(length);
      head = all === null ? '' : all.latin1Slice(0, headLength);
      body = all === null ? null : all.subarray(headLength);
    }
    return new Frame(type, slot, key, idLow, idHigh, head, body);
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

  // Says that this call starts now; src/wire/page.h.
  claim(frame) {
    this.id.writeUInt32LE(frame.idLow, 0);
    this.id.writeUInt32LE(frame.idHigh, 4);
    writeSync(PAGE, this.id, 0, 8, 0);
  }

  putHeader(frame, type, length) {
    const output = this.output;
    output.writeUInt32LE(length, 0);
    output[4] = type;
    output[5] = FORMAT;
    output.writeUInt16LE(frame.slot, 6);
    output.writeUInt32LE(frame.idLow, 8);
    output.writeUInt32LE(frame.idHigh, 12);
    output.writeUInt32LE(frame.key, 16);
    output.fill(0, 20, HEADER_BYTES);
  }

  loaded(frame) {
    this.putHeader(frame, LOADED, 0);
    writeAll(OUT, this.output, 0, HEADER_BYTES);
  }

  // `head` is latin-1; `body`, a string or bytes, is the output, or the log of a call that failed.
  answer(frame, result, head, body, isLog) {
    const output = this.output;
    const isText = typeof body === 'string';
    const headEnd = FRONT_BYTES + head.length;
    const bound = headEnd + (isText ? body.length * UTF8_MAX_BYTES : body.length);
    let bodyLength;
    let parts = null;
    if (bound <= BUFFER_BYTES) {
      output.latin1Write(head, FRONT_BYTES, head.length);
      if (isText) {
        bodyLength = output.utf8Write(body, headEnd, BUFFER_BYTES - headEnd);
      } else {
        output.set(body, headEnd);
        bodyLength = body.length;
      }
    } else {
      parts = [bufferFrom(head, 'latin1'), isText ? bufferFrom(body, 'utf8') : body];
      bodyLength = parts[1].length;
    }
    this.putHeader(frame, ANSWER, FIXED_BYTES + head.length + bodyLength);
    output.writeUInt32LE(result.code, 32);
    output.writeInt32LE(result.exitCode, 36);
    output.writeUInt32LE(head.length, 40);
    output.writeUInt32LE(isLog ? 0 : bodyLength, 44);
    output.writeUInt32LE(isLog ? bodyLength : 0, 48);
    output.writeUInt32LE(result.flags, 52);
    putNanoseconds(output, result.startNs, 56);
    putNanoseconds(output, result.runNs, 64);
    if (parts === null) {
      writeAll(OUT, output, 0, headEnd + bodyLength);
      return;
    }
    writeAll(OUT, output, 0, FRONT_BYTES);
    for (const part of parts) writeAll(OUT, part, 0, part.length);
  }
}

function putNanoseconds(output, value, at) {
  output.writeUInt32LE(value % TWO_32, at);
  output.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
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
  parseHead,
  writeAll,
};

//# sourceURL=faas:frames

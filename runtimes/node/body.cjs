'use strict';
// The Fetch standard's body (https://fetch.spec.whatwg.org/#body-mixin): what Request and Response share.

const { types } = require('util');

const TEXT_TYPE = 'text/plain;charset=UTF-8';
const FORM_TYPE = 'application/x-www-form-urlencoded;charset=UTF-8';

// Node.js's own classes, for what is rare enough to be left to them: loaded when they are asked for.
const nativeGetters = new Map(
  ['Request', 'Response', 'fetch'].map((name) => {
    const property = Object.getOwnPropertyDescriptor(globalThis, name);
    return [name, () => (property.get ? property.get.call(globalThis) : property.value)];
  }),
);

function native(name) {
  const ours = Object.getOwnPropertyDescriptor(globalThis, name);
  const found = nativeGetters.get(name)();
  Object.defineProperty(globalThis, name, ours); // the getter has put its own there
  return found;
}

function tagOf(value) {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function copyOf(data) {
  if (types.isAnyArrayBuffer(data)) return Buffer.from(new Uint8Array(data));
  return Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function streamOfIterable(iterable) {
  const iterator = iterable[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(typeof value === 'string' ? Buffer.from(value) : value);
    },
    async cancel(reason) {
      await iterator.return?.(reason);
    },
  });
}

// A body's source is a string, a Buffer or a ReadableStream. `type`: the content type that goes with it.
function extract(init) {
  if (typeof init === 'string') return { source: init, type: TEXT_TYPE };
  if (typeof init !== 'object') return { source: String(init), type: TEXT_TYPE };
  if (ArrayBuffer.isView(init) || types.isAnyArrayBuffer(init)) return { source: copyOf(init), type: null };
  switch (tagOf(init)) {
    case 'URLSearchParams':
      return { source: init.toString(), type: FORM_TYPE };
    case 'ReadableStream':
      if (init.locked) throw new TypeError('The body is a stream that is locked.');
      return { source: init, type: null };
    case 'Blob':
    case 'File':
      return { source: init.stream(), type: init.type || null };
    case 'FormData': {
      const response = new (native('Response'))(init);
      return { source: response.body, type: response.headers.get('content-type') };
    }
    default:
  }
  if (typeof init[Symbol.asyncIterator] === 'function') return { source: streamOfIterable(init), type: null };
  return { source: String(init), type: TEXT_TYPE };
}

function chunkBytes(chunk) {
  if (!(chunk instanceof Uint8Array)) throw new TypeError('A chunk of the body is no Uint8Array.');
  return chunk;
}

// All of a stream; `limit` bytes at the most, else overLimit() says what is thrown.
async function readStream(stream, limit, overLimit) {
  const reader = stream.getReader();
  const chunks = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return chunks.length === 1 ? Buffer.from(chunks[0]) : Buffer.concat(chunks, size);
    chunks.push(chunkBytes(value));
    size += value.byteLength;
    if (size > limit) {
      reader.cancel().catch(() => {});
      throw overLimit();
    }
  }
}

class Body {
  #source = null;
  #stream = null; // made when the user asks for it, or given by the user
  #used = false;

  // For subclasses' constructors and clone.
  static setSource(body, source) {
    if (source !== null && typeof source === 'object' && !(source instanceof Uint8Array)) body.#stream = source;
    else body.#source = source;
  }

  // What can be sent without a turn of the loop: a string, a Buffer, '' for no body; null when it is a stream.
  static take(body) {
    if (body.#used || body.#stream !== null) return null;
    body.#used = true;
    return body.#source ?? '';
  }

  static isUsable(body) {
    return !body.#used && !body.#stream?.locked && !isDisturbed(body.#stream);
  }

  static cloneSource(body) {
    if (!Body.isUsable(body)) throw new TypeError('Body is unusable: it has already been read.');
    if (body.#stream === null) return body.#source;
    const [first, second] = body.#stream.tee();
    body.#stream = first;
    return second;
  }

  get body() {
    if (this.#stream === null && this.#source !== null) {
      const source = this.#source;
      const isUsed = this.#used;
      this.#stream = new ReadableStream({
        type: 'bytes',
        start(controller) {
          const bytes = typeof source === 'string' ? Buffer.from(source) : source;
          if (!isUsed && bytes.length > 0) controller.enqueue(new Uint8Array(bytes));
          controller.close();
        },
      });
    }
    return this.#stream;
  }

  get bodyUsed() {
    return this.#used || isDisturbed(this.#stream);
  }

  async #bytes() {
    if (!Body.isUsable(this)) throw new TypeError('Body is unusable: Body has already been read');
    this.#used = true;
    if (this.#stream !== null) return readStream(this.#stream, Infinity);
    return typeof this.#source === 'string' ? Buffer.from(this.#source) : (this.#source ?? Buffer.alloc(0));
  }

  async arrayBuffer() {
    return new Uint8Array(await this.#bytes()).buffer;
  }

  async bytes() {
    return new Uint8Array(await this.#bytes());
  }

  async text() {
    const bytes = await this.#bytes();
    const hasMark = bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    return bytes.utf8Slice(hasMark ? 3 : 0, bytes.length);
  }

  async json() {
    return JSON.parse(await this.text());
  }

  async blob() {
    return new Blob([await this.#bytes()], { type: this.headers.get('content-type') ?? '' });
  }

  async formData() {
    const headers = { 'content-type': this.headers.get('content-type') ?? '' };
    return new (native('Response'))(await this.#bytes(), { headers }).formData();
  }
}

function isDisturbed(stream) {
  return stream !== null && require('stream').Readable.isDisturbed(stream);
}

module.exports = { Body, extract, native, readStream };

//# sourceURL=faas:body

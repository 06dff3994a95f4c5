'use strict';
// The Fetch standard's Request and Response (https://fetch.spec.whatwg.org/#request-class, #response-class), as
// far as they can be seen without a network.

const { Body, extract, native } = require('./body.cjs');
const { Headers } = require('./headers.cjs');
const { urlOf } = require('./http_call.cjs');

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const REASON_PHRASE = /^[\t\x20-\x7e\x80-\xff]*$/;
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK']);
const NORMALIZED_METHODS = new Set(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT']);
const NULL_BODY_STATUSES = new Set([101, 204, 205, 304]);
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);

let nativeIsLoaded = false;

function nativeClass(name) {
  nativeIsLoaded = true;
  return native(name);
}

function methodOf(value) {
  const method = String(value);
  const upper = method.toUpperCase();
  if (!TOKEN.test(method) || FORBIDDEN_METHODS.has(upper)) {
    throw new TypeError(`'${method}' is not a valid HTTP method.`);
  }
  return NORMALIZED_METHODS.has(upper) ? upper : method;
}

// The body of an init, and its content type when the headers say none.
function applyBody(target, headers, init) {
  const { source, type } = extract(init);
  if (type !== null && !headers.has('content-type')) headers.append('content-type', type);
  Body.setSource(target, source);
}

const fromWire = Symbol('a request that came in');

class Request extends Body {
  #method = 'GET';
  #url;
  #head; // of the call that it came with: its URL is made when somebody asks
  #headers;
  #signal = null;
  #options;

  constructor(input, init = undefined) {
    super();
    if (init === fromWire) {
      this.#method = input.method;
      this.#head = input.head;
      this.#headers = input.headers; // a list, until somebody asks
      if (input.body !== null) Body.setSource(this, input.body);
      return;
    }
    if (arguments.length === 0) throw new TypeError('Request constructor: 1 argument required, but only 0 present.');
    const options = init ?? {};
    const other = typeof input === 'object' && input !== null && #method in input ? input : null;
    if (other === null) {
      const url = new URL(input?.url ?? input);
      if (url.username || url.password) {
        throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${url}`);
      }
      this.#url = url.href;
    } else {
      this.#url = other.url;
      this.#method = other.#method;
      this.#options = other.#options;
    }
    if (options.method !== undefined) this.#method = methodOf(options.method);
    this.#headers = new Headers(options.headers ?? other?.headers);
    this.#signal = options.signal ?? other?.signal ?? null;
    this.#options = { ...this.#options, ...options };
    const hasBody = options.body !== undefined && options.body !== null;
    const inherits = !hasBody && other !== null && other.body !== null;
    if ((hasBody || inherits) && (this.#method === 'GET' || this.#method === 'HEAD')) {
      throw new TypeError('Request with GET/HEAD method cannot have body.');
    }
    if (hasBody) applyBody(this, this.#headers, options.body);
    else if (inherits) Body.setSource(this, takeOver(other));
  }

  static fromCall(method, head, headers, body) {
    return new Request({ method, head, headers, body }, fromWire);
  }

  get method() {
    return this.#method;
  }

  get url() {
    this.#url ??= this.#head.url ??= urlOf(this.#head);
    return this.#url;
  }

  get headers() {
    if (!Headers.isHeaders(this.#headers)) this.#headers = Headers.fromList(this.#headers);
    return this.#headers;
  }

  get signal() {
    this.#signal ??= new AbortController().signal;
    return this.#signal;
  }

  get redirect() {
    return this.#options?.redirect ?? 'follow';
  }

  get mode() {
    return this.#options?.mode ?? 'cors';
  }

  get credentials() {
    return this.#options?.credentials ?? 'same-origin';
  }

  get cache() {
    return this.#options?.cache ?? 'default';
  }

  get referrer() {
    return this.#options?.referrer ?? 'about:client';
  }

  get referrerPolicy() {
    return this.#options?.referrerPolicy ?? '';
  }

  get integrity() {
    return this.#options?.integrity ?? '';
  }

  get keepalive() {
    return this.#options?.keepalive ?? false;
  }

  get destination() {
    return '';
  }

  get duplex() {
    return 'half';
  }

  clone() {
    const source = Body.cloneSource(this);
    const clone = new Request(this.url, {
      ...this.#options,
      method: this.#method,
      headers: this.headers,
      signal: this.signal,
      body: null,
    });
    Body.setSource(clone, source);
    return clone;
  }

  get [Symbol.toStringTag]() {
    return 'Request';
  }

  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    const { method, url, headers, bodyUsed } = this;
    return `Request ${inspect({ method, url, headers, bodyUsed }, options)}`;
  }
}

function takeOver(other) {
  if (!Body.isUsable(other)) throw new TypeError('Cannot construct a Request with a Request object that has already been used.');
  const taken = Body.take(other);
  return taken === null ? other.body.pipeThrough(new TransformStream()) : taken;
}

class Response extends Body {
  #status = 200;
  #statusText = '';
  #headers = null; // made when somebody asks, when only the body's type is in them
  #bodyType = null;
  #type = 'default';

  constructor(body = null, init = undefined) {
    super();
    const options = init ?? {};
    if (typeof options !== 'object' && typeof options !== 'function') {
      throw new TypeError('Response constructor: the second argument is no object.');
    }
    if (options.status !== undefined) {
      const status = Math.trunc(Number(options.status));
      if (!(status >= 200 && status <= 599)) {
        throw new RangeError('init["status"] must be in the range of 200 to 599, inclusive.');
      }
      this.#status = status;
    }
    if (options.statusText !== undefined) {
      this.#statusText = String(options.statusText);
      if (!REASON_PHRASE.test(this.#statusText)) throw new TypeError('Invalid statusText');
    }
    if (options.headers !== undefined) this.#headers = new Headers(options.headers);
    if (body === null || body === undefined) return;
    if (NULL_BODY_STATUSES.has(this.#status)) {
      throw new TypeError(`Response with status ${this.#status} cannot have a body.`);
    }
    const { source, type } = extract(body);
    Body.setSource(this, source);
    if (this.#headers === null) this.#bodyType = type;
    else if (type !== null && !this.#headers.has('content-type')) this.#headers.append('content-type', type);
  }

  // To the wire: name and value in the order of append.
  static entriesOf(response) {
    if (response.#headers !== null) return Headers.entriesOf(response.#headers);
    return response.#bodyType === null ? [] : [['content-type', response.#bodyType]];
  }

  static error() {
    const response = new Response();
    response.#type = 'error';
    response.#status = 0;
    return response;
  }

  static redirect(url, status = 302) {
    if (!REDIRECT_STATUSES.has(status)) throw new RangeError(`Invalid status code ${status}`);
    return new Response(null, { status, headers: { location: new URL(url).href } });
  }

  static json(data, init = undefined) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError('Value is not JSON serializable');
    const headers = new Headers(init?.headers);
    if (!headers.has('content-type')) headers.append('content-type', 'application/json');
    return new Response(text, { ...init, headers });
  }

  // One of Node.js's own, which its fetch() returns, is a Response to a user as well.
  static [Symbol.hasInstance](value) {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    return this === Response && nativeIsLoaded && value instanceof native('Response');
  }

  static isOurs(value) {
    return typeof value === 'object' && value !== null && #status in value;
  }

  get status() {
    return this.#status;
  }

  get statusText() {
    return this.#statusText;
  }

  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }

  get headers() {
    if (this.#headers === null) {
      this.#headers = new Headers();
      if (this.#bodyType !== null) this.#headers.append('content-type', this.#bodyType);
    }
    return this.#headers;
  }

  get type() {
    return this.#type;
  }

  get url() {
    return '';
  }

  get redirected() {
    return false;
  }

  clone() {
    const source = Body.cloneSource(this);
    const clone = new Response(null, {
      status: this.#status || 200,
      statusText: this.#statusText,
      headers: this.headers,
    });
    clone.#status = this.#status;
    clone.#type = this.#type;
    Body.setSource(clone, source);
    return clone;
  }

  get [Symbol.toStringTag]() {
    return 'Response';
  }

  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    const { status, statusText, headers, ok, bodyUsed, type, url } = this;
    return `Response ${inspect({ status, statusText, headers, ok, bodyUsed, type, url }, options)}`;
  }
}

// Node.js's fetch, which knows only Request objects of its own.
function fetch(input, init = undefined) {
  nativeIsLoaded = true;
  if (!(input instanceof Request)) return native('fetch')(input, init);
  const { method, headers, body } = input;
  const copy = { method, headers: [...headers], body, signal: input.signal, duplex: 'half', redirect: input.redirect };
  return native('fetch')(new (nativeClass('Request'))(input.url, copy), init);
}

function installGlobals() {
  for (const [name, value] of Object.entries({ Headers, Request, Response, fetch })) {
    Object.defineProperty(globalThis, name, { value, configurable: true, enumerable: false, writable: true });
  }
}

module.exports = { Headers, Request, Response, installGlobals };

//# sourceURL=faas:web

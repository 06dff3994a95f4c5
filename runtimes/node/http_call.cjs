'use strict';
// The head of a CALL as the entries of a function want it: CGI names, header values, paths.

const { parseHead } = require('./frames.cjs');

const CGI_NAMES = [
  'REQUEST_METHOD',
  'SCRIPT_NAME',
  'PATH_INFO',
  'QUERY_STRING',
  'SERVER_PROTOCOL',
  'SERVER_NAME',
  'SERVER_PORT',
  'REMOTE_ADDR',
  'REQUEST_URI',
];
const PREFIX_HEADER = 'x-forwarded-prefix';
// A CGI variable HTTP_PROXY would be taken for a setting by half of the world's HTTP clients.
const NEVER_IN_CGI = new Set(['proxy', 'content-length', 'content-type']);
const INVOKE_URL = 'http://localhost/';
const HOST = /^[A-Za-z0-9._~-]+(:\d{1,5})?$|^\[[0-9A-Fa-f:.]+\](:\d{1,5})?$/;
const NOT_ASCII = /[^\x00-\x7f]/;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const CALL_ID = 'FAAS_CALL_ID=';
const HEADS_MAX = 64;
const HEAD_LENGTH_MAX = 4096;

// The head of a call without its id. Text is latin-1: one character a byte. It may serve many calls: nobody
// changes it.
class Head {
  constructor({ variables, headers }) {
    this.variables = variables;
    this.headers = headers; // name, value, name, value, …
    this.isHttp = variables.has('REQUEST_METHOD');
    this.url = null; // of the request that a `fetch` gets
    this.eventParts = null;
    const prefix = this.isHttp ? variables.get('SCRIPT_NAME') : undefined;
    if (prefix) {
      for (let i = headers.length - 2; i >= 0; i -= 2) {
        if (headers[i] === PREFIX_HEADER) headers.splice(i, 2);
      }
      headers.push(PREFIX_HEADER, prefix);
    }
  }
}

class Call {
  constructor(head, id, body) {
    this.head = head;
    this.id = id;
    this.body = body;
    this.isHttp = head.isHttp;
    this.deadlineMs = 0; // since the epoch
  }
}

// The calls of one client differ in their ids, and in little else.
const heads = new Map();

function callOf(frame) {
  let rest = frame.head;
  let id = '';
  if (rest.startsWith(CALL_ID)) {
    const end = rest.indexOf('\0');
    id = rest.slice(CALL_ID.length, end);
    rest = rest.slice(end + 1);
  }
  let head = heads.get(rest);
  if (head === undefined) {
    head = new Head(parseHead(rest));
    if (rest.length <= HEAD_LENGTH_MAX) {
      if (heads.size >= HEADS_MAX) heads.clear();
      heads.set(rest, head);
    }
  }
  return new Call(head, id, frame.body);
}

// Bytes in latin-1 as text: UTF-8 where they are.
function text(value) {
  if (!NOT_ASCII.test(value)) return value;
  try {
    return strictUtf8.decode(Buffer.from(value, 'latin1'));
  } catch {
    return value;
  }
}

// Text as the bytes of its UTF-8, in latin-1.
function utf8Bytes(value) {
  return NOT_ASCII.test(value) ? Buffer.from(value, 'utf8').latin1Slice() : value;
}

// Of a payload: its text, or null when it is not UTF-8.
function utf8Text(bytes) {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return null;
  }
}

function rawPath({ variables }) {
  const uri = variables.get('REQUEST_URI') ?? '';
  const at = uri.indexOf('?');
  const path = (at < 0 ? uri : uri.slice(0, at)) || (variables.get('PATH_INFO') ?? '');
  return path.startsWith('/') ? path : `/${path}`;
}

// Of the request that a `fetch` gets.
function hostOf({ headers }) {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === 'host' && HOST.test(headers[i + 1])) return headers[i + 1];
  }
  return 'localhost';
}

function urlOf(head) {
  if (!head.isHttp) return INVOKE_URL;
  const query = head.variables.get('QUERY_STRING');
  return new URL(`http://${hostOf(head)}${rawPath(head)}${query ? `?${query}` : ''}`).href;
}

// An own property, whatever the name: `__proto__` is a header name and a query parameter like others.
function setOwn(object, name, value) {
  if (name === '__proto__') {
    Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
  } else {
    object[name] = value;
  }
}

// Name to value; the values of a repeated one joined.
function joinedHeaders({ headers }) {
  const joined = new Map();
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i];
    const before = joined.get(name);
    const separator = name === 'cookie' ? '; ' : ',';
    joined.set(name, before === undefined ? headers[i + 1] : before + separator + headers[i + 1]);
  }
  return joined;
}

// Of an HTTP call, by RFC 3875. A header name with an underscore could pretend to be another and is left out, as
// other servers do.
function cgiVariables(head) {
  const variables = new Map([['GATEWAY_INTERFACE', 'CGI/1.1']]);
  for (const name of CGI_NAMES) variables.set(name, head.variables.get(name) ?? '');
  if (variables.get('PATH_INFO') === '') variables.set('PATH_INFO', '/');
  for (const [name, value] of joinedHeaders(head)) {
    if (name === 'content-type') variables.set('CONTENT_TYPE', value);
    if (name === 'content-length') variables.set('CONTENT_LENGTH', value);
    if (name.includes('_') || NEVER_IN_CGI.has(name)) continue;
    variables.set(`HTTP_${name.toUpperCase().replaceAll('-', '_')}`, value);
  }
  return variables;
}

module.exports = { callOf, cgiVariables, joinedHeaders, rawPath, setOwn, text, urlOf, utf8Bytes, utf8Text };

//# sourceURL=faas:http_call

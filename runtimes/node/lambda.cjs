'use strict';
// Entry `handler`, with AWS Lambda's shapes: the event of a function URL (payload version 2.0), the context, and
// what a handler returns. https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html describes them.

const { BadAnswer } = require('./failure.cjs');
const { headLine, statusLine } = require('./answer.cjs');
const { joinedHeaders, rawPath, setOwn, text, utf8Bytes, utf8Text } = require('./http_call.cjs');

const { parse, stringify } = JSON;
const { isArray } = Array;
const now = Date.now;

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const JSON_TYPE = 'h:content-type=application/json\0';
const INVOKE_HEAD = 'json=1\0';
const CALLBACK_ARGUMENTS = 3;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

// Lambda's context object. https://docs.aws.amazon.com/lambda/latest/dg/nodejs-context.html
class Context {
  #deadlineMs;
  #callback;

  constructor(call, fn, callback) {
    this.callbackWaitsForEmptyEventLoop = true;
    this.functionName = fn.name;
    this.functionVersion = fn.version;
    this.invokedFunctionArn = fn.arn;
    this.memoryLimitInMB = String(fn.memoryMb);
    this.awsRequestId = call.id;
    this.logGroupName = fn.logGroup;
    this.logStreamName = fn.version;
    this.#deadlineMs = call.deadlineMs;
    this.#callback = callback;
  }

  getRemainingTimeInMillis() {
    return Math.max(0, this.#deadlineMs - now());
  }

  done(error, value) {
    this.#callback(error, value);
  }

  succeed(value) {
    this.#callback(null, value);
  }

  fail(error) {
    this.#callback(error ?? new Error('the handler failed'));
  }
}

// The payload of /invoke: its JSON value, else a string; null when it is empty.
function invokeEvent(body) {
  if (body.length === 0) return null;
  const payload = body.utf8Slice(0, body.length);
  try {
    return parse(payload);
  } catch {
    return payload;
  }
}

function pad(number) {
  return number < 10 ? `0${number}` : String(number);
}

function timeOf(date) {
  const day = `${pad(date.getUTCDate())}/${MONTHS[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  return `${day}:${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())} +0000`;
}

function queryParameters(query) {
  const parameters = {};
  for (const [name, value] of new URLSearchParams(text(query))) {
    setOwn(parameters, name, Object.hasOwn(parameters, name) ? `${parameters[name]},${value}` : value);
  }
  return parameters;
}

// What the events of all calls with one head have in common.
function eventPartsOf(head) {
  const { variables } = head;
  const headers = []; // name, value, …, so that each event gets an object of its own
  let cookies = null;
  let host = '';
  let userAgent = '';
  for (const [name, value] of joinedHeaders(head)) {
    if (name === 'cookie') {
      cookies = text(value).split('; ').filter(Boolean);
      continue;
    }
    headers.push(name, text(value));
    if (name === 'host') host = text(value);
    if (name === 'user-agent') userAgent = text(value);
  }
  host ||= variables.get('SERVER_NAME') ?? 'localhost';
  const domain = host.replace(/:\d*$/, '');
  return {
    headers,
    cookies,
    domain,
    prefix: domain.split('.', 1)[0],
    userAgent,
    path: rawPath(head),
    query: variables.get('QUERY_STRING') ?? '',
    method: variables.get('REQUEST_METHOD'),
    protocol: variables.get('SERVER_PROTOCOL') ?? 'HTTP/1.1',
    sourceIp: variables.get('REMOTE_ADDR') ?? '',
  };
}

function httpEvent(call) {
  call.head.eventParts ??= eventPartsOf(call.head);
  const parts = call.head.eventParts;
  const { cookies, domain, path, prefix, query } = parts;
  const headers = {};
  for (let i = 0; i < parts.headers.length; i += 2) setOwn(headers, parts.headers[i], parts.headers[i + 1]);
  const date = new Date();
  const event = {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    headers,
    requestContext: {
      accountId: 'anonymous',
      apiId: prefix,
      authentication: null,
      domainName: domain,
      domainPrefix: prefix,
      http: {
        method: parts.method,
        path,
        protocol: parts.protocol,
        sourceIp: parts.sourceIp,
        userAgent: parts.userAgent,
      },
      requestId: call.id,
      routeKey: '$default',
      stage: '$default',
      time: timeOf(date),
      timeEpoch: date.getTime(),
    },
    pathParameters: null,
    stageVariables: null,
    isBase64Encoded: false,
  };
  if (cookies !== null) event.cookies = [...cookies];
  if (query !== '') event.queryStringParameters = queryParameters(query);
  if (call.body.length > 0) {
    const body = utf8Text(call.body);
    event.body = body ?? call.body.base64Slice(0, call.body.length);
    event.isBase64Encoded = body === null;
  }
  return event;
}

// Undefined, like a function or a symbol, is sent as null.
function toJson(value) {
  try {
    return stringify(value) ?? 'null';
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new TypeError(`the handler's value cannot be sent as JSON: ${error.message}`);
  }
}

function headerLines(name, value) {
  const values = isArray(value) ? value : [value];
  let lines = '';
  for (const one of values) {
    if (one !== null && one !== undefined) lines += headLine(name, utf8Bytes(String(one)));
  }
  return lines;
}

function objectOf(value, name) {
  const found = value[name];
  if (found === null || found === undefined) return {};
  if (typeof found !== 'object' || isArray(found)) throw new BadAnswer(`the answer's ${name} is no object`);
  return found;
}

function bodyOf(value) {
  const { body } = value;
  if (body === null || body === undefined) return '';
  if (ArrayBuffer.isView(body)) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (typeof body !== 'string') return toJson(body);
  if (!value.isBase64Encoded) return body;
  const trimmed = body.replace(/\s+/g, '');
  if (!BASE64.test(trimmed)) {
    throw new BadAnswer("the answer's body is not base64, though isBase64Encoded says so");
  }
  return Buffer.from(trimmed, 'base64');
}

function httpAnswer(value) {
  if (value === null || typeof value !== 'object' || value.statusCode === undefined) {
    return { head: JSON_TYPE, output: toJson(value) };
  }
  let head = statusLine(value.statusCode);
  const multiple = objectOf(value, 'multiValueHeaders');
  const overridden = new Set(Object.keys(multiple).map((name) => name.toLowerCase()));
  let isTyped = overridden.has('content-type');
  for (const [name, one] of Object.entries(objectOf(value, 'headers'))) {
    const lower = name.toLowerCase();
    if (overridden.has(lower)) continue;
    isTyped ||= lower === 'content-type';
    head += headerLines(name, one);
  }
  for (const [name, many] of Object.entries(multiple)) head += headerLines(name, many);
  head += headerLines('set-cookie', value.cookies);
  const output = bodyOf(value);
  // A function URL says application/json for whatever says nothing else.
  if (!isTyped && output.length > 0) head += JSON_TYPE;
  return { head, output };
}

function findHandler(exported) {
  for (const holder of [exported, exported?.default]) {
    if (typeof holder?.handler === 'function') return holder.handler;
  }
  return null;
}

class Handler {
  constructor(fn, exported) {
    this.fn = fn;
    this.user = findHandler(exported);
    if (this.user === null) throw new TypeError(`${fn.fileName} exports no function 'handler'`);
  }

  prepare(call, settle) {
    const callback = (error, value) => {
      if (error !== null && error !== undefined) settle.reject(error);
      else settle.resolve(value);
    };
    const event = call.isHttp ? httpEvent(call) : invokeEvent(call.body);
    return { event, context: new Context(call, this.fn, callback), callback };
  }

  run({ event, context, callback }) {
    return (0, this.user)(event, context, callback);
  }

  // Only the callback can end the call, when the value is no promise.
  get waits() {
    return this.user.length >= CALLBACK_ARGUMENTS;
  }

  finish(value, call) {
    return call.isHttp ? httpAnswer(value) : { head: INVOKE_HEAD, output: toJson(value) };
  }
}

module.exports = { Handler };

//# sourceURL=faas:lambda

'use strict';
// Entry `fetch`: export default { fetch(request, env, ctx) }, as in Workers.

const { headLine, statusLine } = require('./answer.cjs');
const { Body, readStream } = require('./body.cjs');
const { outputLimit } = require('./failure.cjs');
const { Headers, Request, Response, installGlobals } = require('./web.cjs');
const { setOwn, rawPath } = require('./http_call.cjs');

const INVOKE_URL = 'http://localhost/';
const HOST = /^[A-Za-z0-9._~-]+(:\d{1,5})?$|^\[[0-9A-Fa-f:.]+\](:\d{1,5})?$/;

function findFetch(exported) {
  for (const holder of [exported?.default, exported, exported?.default?.default]) {
    if (typeof holder?.fetch === 'function') return holder;
  }
  return null;
}

function hostOf(call) {
  const { headers } = call;
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === 'host' && HOST.test(headers[i + 1])) return headers[i + 1];
  }
  return 'localhost';
}

function requestOf(call) {
  if (!call.isHttp) {
    const headers = call.headers.includes('host') ? call.headers : ['host', 'localhost', ...call.headers];
    return Request.fromCall('POST', INVOKE_URL, headers, Buffer.from(call.body));
  }
  const { variables } = call;
  const query = variables.get('QUERY_STRING');
  const url = `http://${hostOf(call)}${rawPath(call)}${query ? `?${query}` : ''}`;
  const method = variables.get('REQUEST_METHOD');
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return Request.fromCall(method, url, call.headers, hasBody ? Buffer.from(call.body) : null);
}

function headOf(response) {
  let head = statusLine(response.status);
  const entries = Headers.isHeaders(response.headers) ? Headers.entriesOf(response.headers) : response.headers;
  for (const [name, value] of entries) head += headLine(name, value);
  return head;
}

class Fetch {
  constructor(fn, exported, keepBusy) {
    this.fn = fn;
    this.holder = findFetch(exported);
    this.keepBusy = keepBusy;
    if (this.holder === null) throw new TypeError(`${fn.fileName} exports no object with a function 'fetch'`);
    this.env = {};
    for (const [name, value] of fn.variables) setOwn(this.env, name, value);
  }

  prepare(call) {
    const { keepBusy } = this;
    const context = {
      waitUntil(promise) {
        keepBusy(promise);
      },
      passThroughOnException() {},
      props: {},
    };
    return { request: requestOf(call), context };
  }

  run({ request, context }) {
    return { value: this.holder.fetch(request, this.env, context), waits: false };
  }

  finish(value, call) {
    if (!(value instanceof Response)) {
      throw new TypeError("the value that 'fetch' returned is no Response");
    }
    const head = call.isHttp ? headOf(value) : '';
    if (!Response.isOurs(value)) return this.read(head, value.body);
    if (value.bodyUsed) throw new TypeError('the body of the Response has already been read');
    const output = Body.take(value);
    return output === null ? this.read(head, value.body) : { head, output };
  }

  async read(head, stream) {
    if (stream === null) return { head, output: '' };
    const output = await readStream(stream, this.fn.outputBytes, () => outputLimit(this.fn));
    return { head, output };
  }
}

module.exports = { Fetch, installGlobals };

//# sourceURL=faas:fetch

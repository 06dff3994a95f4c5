'use strict';
// Entry `fetch`: export default { fetch(request, env, ctx) }, as in Workers.

const { headLine, statusLine } = require('./answer.cjs');
const { Body, readStream } = require('./body.cjs');
const { outputLimit } = require('./failure.cjs');
const { Request, Response, installGlobals } = require('./web.cjs');
const { setOwn } = require('./http_call.cjs');

function findFetch(exported) {
  for (const holder of [exported?.default, exported, exported?.default?.default]) {
    if (typeof holder?.fetch === 'function') return holder;
  }
  return null;
}

function requestOf(call) {
  const { head } = call;
  if (!call.isHttp) {
    const headers = head.headers.includes('host') ? head.headers : ['host', 'localhost', ...head.headers];
    return Request.fromCall('POST', head, headers, Buffer.from(call.body));
  }
  const method = head.variables.get('REQUEST_METHOD');
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return Request.fromCall(method, head, head.headers, hasBody ? Buffer.from(call.body) : null);
}

function headOf(response) {
  let head = statusLine(response.status);
  const entries = Response.isOurs(response) ? Response.entriesOf(response) : response.headers;
  for (const [name, value] of entries) head += headLine(name, value);
  return head;
}

class Fetch {
  constructor(fn, exported, keepBusy) {
    this.fn = fn;
    this.holder = findFetch(exported);
    this.keepBusy = keepBusy;
    this.waits = false;
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
    return this.holder.fetch(request, this.env, context);
  }

  finish(value, call) {
    if (!Response.isOurs(value) && !(value instanceof Response)) {
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

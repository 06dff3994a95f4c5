'use strict';
// A process's life: boot, wait for its LOAD, then serve calls, or be one call's main program.

const fs = require('fs');
const environment = require('./environment.cjs');
const frames = require('./frames.cjs');
const { callOf } = require('./http_call.cjs');
const { describe } = require('./failure.cjs');
const { Fetch, installGlobals } = require('./fetch.cjs');
const { Handler } = require('./lambda.cjs');
const { runScript } = require('./script.cjs');
const { Server } = require('./server.cjs');
const { evaluateCommon, evaluateModule, pathsOf } = require('./source.cjs');
const { installStreams } = require('./streams.cjs');

const { Channel, FrameError, parseHead } = frames;

const MIB = 1024 * 1024;
const EXIT_PROTOCOL = 70;
const ENTRIES = ['fetch', 'handler', 'script'];
const DEFAULT_LIMITS = { timeout_ms: 10000, memory_mb: 128, output_mb: 16 };

const { env } = process;

// What a LOAD says.
class LoadedFunction {
  constructor(frame) {
    const { variables } = parseHead(frame.head);
    for (const name of ['FAAS_FUNCTION', 'FAAS_VERSION', 'entry']) {
      if (!variables.has(name)) throw new FrameError(`a LOAD without ${name}`);
    }
    const limits = {};
    for (const [name, value] of Object.entries(DEFAULT_LIMITS)) {
      limits[name] = Number(variables.get(`limit.${name}`) ?? value);
      if (!Number.isInteger(limits[name])) throw new FrameError(`the limit ${name} of a LOAD`);
    }
    this.name = variables.get('FAAS_FUNCTION');
    this.version = variables.get('FAAS_VERSION');
    this.entry = variables.get('entry');
    this.isModule = variables.get('module') === '1';
    this.fileName = `${this.name}.js`;
    this.timeoutMs = limits.timeout_ms;
    this.memoryMb = limits.memory_mb;
    this.outputBytes = limits.output_mb * MIB;
    this.arn = `arn:aws:lambda:local:000000000000:function:${this.name}`;
    this.logGroup = `/aws/lambda/${this.name}`;
    this.paths = pathsOf(this.name);
    this.variables = new Map(); // the function's own
    for (const [name, value] of variables) {
      if (!name.startsWith('env.') || name.length === 4) continue;
      this.variables.set(name.slice(4), Buffer.from(value, 'latin1').utf8Slice());
    }
    if (!ENTRIES.includes(this.entry) || frame.body === null) {
      throw new FrameError(`a LOAD for the entry ${this.entry}`);
    }
  }

  withoutPaths(text) {
    let result = text;
    for (const path of this.paths) result = result.replaceAll(path, this.fileName);
    return result;
  }

  setEnvironment() {
    for (const [name, value] of this.variables) env[name] = value;
    env.FAAS_FUNCTION = this.name;
    env.FAAS_VERSION = this.version;
  }
}

// Nothing waits on the stdin of a function that is called more than once.
function closeStdin() {
  fs.closeSync(0);
  fs.openSync('/dev/null', 'r');
}

// The call of a script, after which the process is no longer the platform's; null when there is none.
function takeScriptCall(channel, fn) {
  const frame = channel.readFrame();
  if (frame === null || frame.type !== frames.CALL) return null;
  channel.claim(frame);
  const call = callOf(frame);
  call.deadlineMs = Date.now() + fn.timeoutMs;
  channel.close();
  return call;
}

async function serveFunction(channel, fn, load, source) {
  closeStdin();
  process.argv = [process.execPath, fn.fileName];
  const server = new Server(channel, fn, load);
  environment.install();
  const keepBusy = (promise) => server.keepBusy(promise);
  if (fn.entry === 'fetch') installGlobals();
  try {
    const exported = fn.isModule ? await evaluateModule(fn, source) : evaluateCommon(fn, source, false);
    server.entry = fn.entry === 'fetch' ? new Fetch(fn, exported, keepBusy) : new Handler(fn, exported);
  } catch (error) {
    server.loadFailure = describe(error, fn);
  }
  server.open();
}

// What the first function of a kind would otherwise wait for: the loader of ES modules.
async function warmUp() {
  try {
    await import('./warm_up.mjs');
  } catch {
    // Only slower: an ES module of the user's that cannot be loaded either says so itself.
  }
}

// Who this process is for; null at the end of the input.
function takeLoad(channel) {
  const load = channel.readFrame();
  if (load === null) return null;
  if (load.type !== frames.LOAD) throw new FrameError('a frame before LOAD');
  process.title = 'worker-node';
  const fn = new LoadedFunction(load);
  fn.setEnvironment();
  const source = Buffer.from(load.body);
  const call = fn.entry === 'script' ? takeScriptCall(channel, fn) : null;
  return { load, fn, source, call };
}

function main() {
  const channel = new Channel();
  installStreams();
  let taken;
  try {
    taken = takeLoad(channel);
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    process.stderr.write(`faas: ${error.message}\n`);
    process.exit(EXIT_PROTOCOL);
  }
  if (taken === null) process.exit(0);
  const { load, fn, source, call } = taken;
  if (fn.entry !== 'script') serveFunction(channel, fn, load, source);
  else if (call !== null) runScript(fn, source, call);
  else process.exit(0);
}

module.exports = { main, warmUp };

//# sourceURL=faas:life

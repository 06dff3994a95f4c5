'use strict';
// Entry `script`: the user's source as the main program of this process, which serves this one call.

const { cgiVariables } = require('./http_call.cjs');
const { evaluateCommon, evaluateModule } = require('./source.cjs');

const EXIT_UNSETTLED = 13; // as Node.js's own for a top-level await that never ends

function setEnvironment(call) {
  const { env } = process;
  env.FAAS_CALL_ID = call.id;
  env.FAAS_DEADLINE_MS = String(call.deadlineMs);
  if (!call.isHttp) return;
  for (const [name, value] of cgiVariables(call.head)) env[name] = Buffer.from(value, 'latin1').utf8Slice();
}

// The event loop ends the process, as it does for any program.
function runScript(fn, source, call) {
  setEnvironment(call);
  process.argv = [process.execPath, fn.fileName];
  if (!fn.isModule) {
    evaluateCommon(fn, source, true);
    return;
  }
  let isEvaluated = false;
  process.once('beforeExit', () => {
    if (isEvaluated) return;
    process.stderr.write('Warning: Detected unsettled top-level await\n');
    process.exitCode = EXIT_UNSETTLED;
  });
  // A rejection stays unhandled: it is the program's uncaught exception.
  evaluateModule(fn, source).finally(() => {
    isEvaluated = true;
  });
}

module.exports = { runScript };

//# sourceURL=faas:script

'use strict';
// FAAS_CALL_ID and FAAS_DEADLINE_MS in process.env, of a function that is called again and again.
//
// Setting a variable calls the C library, which costs as much as a short call and keeps every value that it ever
// had. So they are set for those only who look: from the moment when somebody asks for process.env.

const { process } = globalThis;
const { defineProperty } = Object;
const { captureStackTrace } = Error;
const LOADER_FRAME = /^[^\n]*\n[^\n]*node:internal\/modules\//;
const real = process.env;

let isSeen = false;
let id = null; // of the call under way, null before the first
let deadlineMs = 0;

function tell() {
  real.FAAS_CALL_ID = id;
  real.FAAS_DEADLINE_MS = String(deadlineMs);
}

// Node.js's loader of ES modules asks for a variable of its own with every import.
function isLoader(getter) {
  const trace = {};
  captureStackTrace(trace, getter);
  return typeof trace.stack === 'string' && LOADER_FRAME.test(trace.stack);
}

function look() {
  if (isSeen || isLoader(look)) return real;
  isSeen = true;
  if (id !== null) tell();
  return real;
}

function install() {
  const shape = { configurable: true, enumerable: true };
  defineProperty(process, 'env', {
    ...shape,
    get: look,
    set(value) {
      defineProperty(process, 'env', { ...shape, value, writable: true });
    },
  });
}

function setCall(callId, callDeadlineMs) {
  id = callId;
  deadlineMs = callDeadlineMs;
  if (isSeen) tell();
}

module.exports = { install, setCall };

//# sourceURL=faas:environment

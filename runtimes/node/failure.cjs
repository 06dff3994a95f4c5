'use strict';
// What an exception of the user's code means: code, message for people, stack without the platform's frames.

const { inspect } = require('util');
const frames = require('./frames.cjs');

// A line of a stack; the brace that opens an error's further properties stays, behind the line before.
const PLATFORM_FRAME = /\n\s+at [^\n]*\bfaas:\w+:\d+:\d+\)?(?=\n| \{|$)/g;
const TYPED_ARRAY_LENGTH = /^Invalid typed array length: (\d+)$/;
const FORK_CALL = /^(spawn|spawnSync|fork)\b/;
const MIB = 1024 * 1024;

// The function answered, with something that cannot be sent.
class BadAnswer extends Error {}

// The output is over limit.output_mb.
class OutputLimit extends Error {}

function outputLimit(fn) {
  return new OutputLimit(`the output is over the limit of ${fn.outputBytes / MIB} MiB`);
}

function failure(code, message, log, exitCode = 0) {
  return { code, message, log, exitCode };
}

// Never throws: an exception can be any value, with getters that throw themselves.
function describe(error, fn) {
  if (error instanceof BadAnswer) return failure(frames.ERR_BAD_ANSWER, error.message, `${error.message}\n`);
  if (error instanceof OutputLimit) return failure(frames.ERR_OUTPUT, error.message, `${error.message}\n`);
  let code = frames.ERR_EXCEPTION;
  try {
    if (isOutOfMemory(error, fn)) code = frames.ERR_OOM;
    else if (isProcessLimit(error)) code = frames.ERR_PROCESSES;
  } catch {
    // A getter of the user's: an exception like any other.
  }
  return failure(code, fn.withoutPaths(messageOf(error)), `${stackOf(error, fn)}\n`);
}

function describeExit(exitCode) {
  return failure(frames.ERR_EXIT, `the function exited with code ${exitCode}`, '', exitCode);
}

function isOutOfMemory(error, fn) {
  if (!(error instanceof Error)) return false;
  if (error.code === 'ERR_MEMORY_ALLOCATION_FAILED') return true;
  if (error.name !== 'RangeError') return false;
  const { message } = error;
  if (message === 'Array buffer allocation failed') return true;
  const length = TYPED_ARRAY_LENGTH.exec(message);
  if (length) return Number(length[1]) > fn.memoryMb * MIB;
  // An array that could not grow, and not one that was asked for with a length that is none.
  return message === 'Invalid array length' && process.memoryUsage().rss > (fn.memoryMb * MIB) / 2;
}

function isProcessLimit(error) {
  if (!(error instanceof Error)) return false;
  if (error.code === 'ERR_WORKER_INIT_FAILED') return String(error.message).includes('EAGAIN');
  return error.code === 'EAGAIN' && FORK_CALL.test(String(error.syscall));
}

function messageOf(error) {
  try {
    if (error instanceof Error) {
      const name = String(error.name);
      const text = String(error.message);
      return text ? `${name}: ${text}` : name;
    }
    return `Uncaught ${inspect(error, { depth: 1, breakLength: Infinity })}`;
  } catch {
    return 'Uncaught exception that cannot be shown';
  }
}

function stackOf(error, fn) {
  try {
    return fn.withoutPaths(inspect(error).replace(PLATFORM_FRAME, ''));
  } catch {
    return messageOf(error);
  }
}

module.exports = { BadAnswer, describe, describeExit, outputLimit, stackOf };

//# sourceURL=faas:failure

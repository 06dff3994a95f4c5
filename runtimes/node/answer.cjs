'use strict';
// Parts of an ANSWER: its head is latin-1 text, one `name=value` and a NUL byte for each entry.

const { BadAnswer } = require('./failure.cjs');

// The gateway frames the answer: what speaks of framing or of the connection is its own affair.
const GATEWAY_HEADERS = new Set(['connection', 'content-length', 'keep-alive', 'transfer-encoding', 'upgrade']);
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const STATUS_OK = 'status=200\0';
const HEADER_CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

// Handlers answer with the same few headers again and again.
const lines = new Map();
const LINES_MAX = 256;
const LINE_LENGTH_MAX = 256;

function headLine(name, value) {
  const key = `${name}\0${value}`;
  let line = lines.get(key);
  if (line === undefined) {
    line = makeLine(name, value);
    if (line.length <= LINE_LENGTH_MAX) {
      if (lines.size >= LINES_MAX) lines.clear();
      lines.set(key, line);
    }
  }
  return line;
}

function makeLine(name, value) {
  if (!HEADER_NAME.test(name)) {
    throw new BadAnswer(`a header of the answer has the name ${JSON.stringify(name.slice(0, 100))}`);
  }
  if (HEADER_CONTROL.test(value)) {
    throw new BadAnswer(`the answer's header ${name} has a control character in its value`);
  }
  return GATEWAY_HEADERS.has(name.toLowerCase()) ? '' : `h:${name}=${value}\0`;
}

function statusLine(value) {
  if (value === 200) return STATUS_OK;
  const status = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new BadAnswer(`the answer's status is ${String(value).slice(0, 100)}, which is not between 200 and 599`);
  }
  return `status=${status}\0`;
}

module.exports = { headLine, statusLine };

//# sourceURL=faas:answer

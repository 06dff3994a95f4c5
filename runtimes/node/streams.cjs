'use strict';
// process.stdout and process.stderr that write before they return: Node.js's own, on a pipe, keep what the pipe
// has no room for and lose it when the process ends.

const { writeAll } = require('./frames.cjs');

const NAMES = { stdout: 1, stderr: 2 };

function makeStream(fd) {
  const { Writable } = require('stream');
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      try {
        const data = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
        writeAll(fd, data, 0, data.length);
        done();
      } catch (error) {
        done(error);
      }
    },
  });
  stream.fd = fd;
  stream._type = 'pipe';
  // As Node.js's own: they cannot be closed.
  stream.destroySoon = stream.destroy;
  stream._destroy = (error, done) => done(error);
  return stream;
}

function installStreams() {
  for (const [name, fd] of Object.entries(NAMES)) {
    let stream = null;
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get() {
        stream ??= makeStream(fd);
        return stream;
      },
    });
  }
}

module.exports = { installStreams };

//# sourceURL=faas:streams

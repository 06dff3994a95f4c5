'use strict';
// Evaluates the user's source. It lives in memory; an ES module, which only a file or a URL can be, passes
// through /tmp of the sandbox, or through a data: URL when there is no room.

const fs = require('fs');
const Module = require('module');
const { pathToFileURL } = require('url');

const FOLDER = '/tmp';
// Of this process alone, also where processes share /tmp.
const MODULE_FOLDER = `${FOLDER}/${process.pid}`;

// What a stack trace calls the file. Last, so that it is the one that counts.
function named(fn, source) {
  const text = source.utf8Slice(0, source.length);
  return `${text.charCodeAt(0) === 0xfeff ? text.slice(1) : text}\n//# sourceURL=${fn.fileName}`;
}

function evaluateCommon(fn, source, isMain) {
  const filename = `${FOLDER}/${fn.fileName}`;
  const module = new Module(filename, undefined);
  module.filename = filename;
  module.paths = Module._nodeModulePaths(FOLDER);
  if (isMain) {
    module.id = '.';
    process.mainModule = module;
  }
  module._compile(named(fn, source), filename);
  module.loaded = true;
  return module.exports;
}

async function evaluateModule(fn, source) {
  const text = named(fn, source);
  const path = `${MODULE_FOLDER}/${fn.name}.mjs`;
  try {
    fs.mkdirSync(MODULE_FOLDER);
    fs.writeFileSync(path, text);
  } catch {
    fs.rmSync(MODULE_FOLDER, { force: true, recursive: true });
    return import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`);
  }
  try {
    return await import(pathToFileURL(path).href);
  } finally {
    fs.rmSync(MODULE_FOLDER, { force: true, recursive: true });
  }
}

// Paths under which a source passed, for messages: what a person reads names the function's own file.
function pathsOf(name) {
  return [`file://${MODULE_FOLDER}/${name}.mjs`, `${MODULE_FOLDER}/${name}.mjs`, `${FOLDER}/${name}.js`];
}

module.exports = { evaluateCommon, evaluateModule, pathsOf };

//# sourceURL=faas:source

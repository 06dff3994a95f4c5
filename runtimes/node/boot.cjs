'use strict';
// Started by the server as `node <flags> …/boot.cjs`, ahead of need: see docs/protocol.md, "Processes of Node.js
// and Python". Loads what a call may need, then blocks on descriptor 3 until the LOAD frame says whose process
// this is.
//
// Every file here ends with a sourceURL, so that a user's stack trace names `faas:…` and no path of the host.

const Module = require('module');
const life = require('./life.cjs');

// The user's `require.main` and `require.cache` are not to hold the platform.
for (const path of Object.keys(Module._cache)) delete Module._cache[path];
process.mainModule = undefined;
process.title = 'spare-node';

// A turn of the loop later, the platform's files are no longer on the stack below the user's.
life.warmUp().then(() => setImmediate(life.main));

//# sourceURL=faas:boot

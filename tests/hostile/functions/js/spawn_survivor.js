// Tries: to outlive its deadline in a detached process. Expected: 504 timeout, and no process of it is left.
const target = readTarget();
const { spawn } = require('child_process');
say('ready');
for (let i = 0; i < 3; i++)
  spawn('/bin/sleep', ['30'], { argv0: 'hostile-' + target.marker, detached: true, stdio: 'ignore' }).unref();
setTimeout(() => escaped('deadline', '6 s have passed'), 6000);

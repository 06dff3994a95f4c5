// Tries: up to 600 MiB on the heap where memory_mb is 64, after raising V8's own limit. Expected: 507 oom.
require('v8').setFlagsFromString('--max-old-space-size=4096');
const all = [];
for (let i = 0; i < 600; i++) all.push(new Array(131072).fill(i + 0.5));
escaped('MiB', all.length);

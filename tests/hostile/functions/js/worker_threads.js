// Tries: to outlive its answer in threads that compute. Expected: 504 timeout (the process is the call's), or an end.
const { Worker } = require('worker_threads');
say('ready');
for (let i = 0; i < 2; i++) new Worker('for (;;);', { eval: true });

// Tries: to block its thread for ever in the kernel. Expected: 504 timeout.
say('ready');
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
escaped('wait', 'ended');

// Tries: up to 400 MiB outside of the heap where memory_mb is 64. Expected: 507 oom.
const all = [];
for (let i = 0; i < 40; i++) all.push(Buffer.alloc(10 << 20, 1));
escaped('MiB', all.length * 10);

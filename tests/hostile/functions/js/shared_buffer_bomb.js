// Tries: up to 400 MiB in shared buffers and memories of WebAssembly where memory_mb is 64. Expected: 507 oom.
const all = [];
for (let i = 0; i < 10; i++) {
  all.push(new Uint8Array(new SharedArrayBuffer(20 << 20)).fill(1));
  all.push(new Uint8Array(new WebAssembly.Memory({ initial: 320 }).buffer).fill(1));
}
escaped('MiB', all.length * 20);

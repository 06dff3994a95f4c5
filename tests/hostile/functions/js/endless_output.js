// Tries: to print without end where output_mb is 1. Expected: 500 output.
const block = 'x'.repeat(65536);
for (let i = 0; i < 640; i++) {
  try { fs.writeSync(1, block); } catch (error) { if (error.code !== 'EAGAIN') throw error; }
}
escaped('output', '40 MiB');

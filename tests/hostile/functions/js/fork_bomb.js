// Tries: up to 150 processes where 16 are allowed. Expected: refused before that (200), and none of them stays.
const target = readTarget();
const { spawn } = require('child_process');
let made = 0;
let failed = 0;
for (let i = 0; i < 150; i++) {
  try {
    const child = spawn('/bin/sleep', ['4'], { argv0: 'hostile-' + target.marker, stdio: 'ignore' });
    child.on('error', () => failed++);
    child.on('spawn', () => made++);
  } catch { failed++; }
}
setTimeout(() => {
  (made > 40 ? escaped : held)('processes', `${made} made, ${failed} refused`);
  say('end');
  process.exit(0);
}, 700);

// Tries: to open a debugger's port that others could reach. Expected: not on the host (200; the test tries the port).
const target = readTarget();
const inspector = require('inspector');
attempt('open', () => { inspector.open(target.free, '127.0.0.1'); });
process.kill(process.pid, 'SIGUSR1');
setTimeout(() => { say('end'); process.exit(0); }, 400);

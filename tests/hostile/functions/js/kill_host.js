// Tries: to signal processes of the host, other functions' among them (signal 0 only). Expected: there are none (200).
const target = readTarget();
for (const pid of target.pids) if (pid !== process.pid) attempt(`kill ${pid}`, () => process.kill(pid, 0));
say('end');

// Tries: to outlive its deadline: it ignores signals, swallows exceptions, and never lets go of the loop. Expected: 504.
for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGALRM', 'SIGXCPU', 'SIGUSR2']) process.on(name, () => {});
process.on('uncaughtException', () => {});
process.on('exit', () => { for (;;); });
say('ready');
const end = Date.now() + 20000;
while (Date.now() < end);
escaped('deadline', '20 s have passed');

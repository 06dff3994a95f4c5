// Tries: another user. Expected: refused (200).
for (const name of ['setuid', 'setgid', 'seteuid', 'setegid']) attempt(name, () => process[name](0) === undefined);
attempt('setgroups', () => process.setgroups([0]) === undefined);
attempt('nice', () => require('os').setPriority(0, -10) === undefined);
attempt('chown', () => { fs.writeFileSync('/tmp/own', ''); fs.chownSync('/tmp/own', 0, 0); return 'root has it'; });
say('end');

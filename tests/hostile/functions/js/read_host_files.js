// Tries: files of the host and other functions' code. Expected: none is there (200, nothing read).
const target = readTarget();
const up = '../'.repeat(12);
for (const path of [target.secret, target.code, target.conf, '/etc/passwd', '/etc/shadow', up + target.secret,
  '/proc/1/root' + target.secret, '/proc/self/root' + target.secret, '/root/.ssh/id_rsa', '/var/log/dpkg.log']) {
  attempt(path, () => fs.readFileSync(path, 'utf8').slice(0, 64));
  attempt('import ' + path, () => Object.keys(require(path)).length + 1);
}
for (const path of ['/root', '/home', '/var', '/sys', '/run', target.data]) attempt(path, () => fs.readdirSync(path).join());
attempt('create', () => fs.writeFileSync(target.drop + '/created', 'x') === undefined);
say('end');

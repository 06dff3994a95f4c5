// Tries: to leave something for the next caller: files, variables, polluted prototypes. Expected: a script finds nothing of the
// call before (200, twice).
attempt('file', () => fs.existsSync('/tmp/left-js'));
attempt('variable', () => process.env.LEFT);
attempt('global', () => globalThis.left);
attempt('prototype', () => ({}).left);
fs.writeFileSync('/tmp/left-js', 'x');
process.env.LEFT = '1';
globalThis.left = 1;
Object.prototype.left = 1;
say('end');

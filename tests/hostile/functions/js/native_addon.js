// Tries: native code in its process: an object file that it loads as an addon, and internal bindings. Expected: it may have
// both (they are its own process's), but nothing more than before (200).
attempt('dlopen of a file that is no addon', () => { fs.writeFileSync('/tmp/x.node', 'x'); process.dlopen({ exports: {} }, '/tmp/x.node'); });
attempt('spawn_sync', () => {
  const result = process.binding('spawn_sync').spawn({ file: '/bin/cat', args: ['cat', '/etc/shadow'], envPairs: [], stdio: [
    { type: 'pipe', readable: true, writable: false }, { type: 'pipe', readable: false, writable: true }, { type: 'pipe', readable: false, writable: true }] });
  return result.output && String(result.output[1]);
});
attempt('fs binding', () => process.binding('fs') && fs.readFileSync('/etc/passwd', 'utf8'));
say('end');

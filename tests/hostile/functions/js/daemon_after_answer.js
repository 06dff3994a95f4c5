// Tries: to leave a detached process behind after its answer. Expected: the answer comes at once (200), nothing is left.
const target = readTarget();
require('child_process').spawn('/bin/sleep', ['30'], { argv0: 'hostile-' + target.marker, detached: true, stdio: 'ignore' }).unref();
say('end');

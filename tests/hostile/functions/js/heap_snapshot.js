// Tries: to fill its disk by a snapshot and a report of itself. Expected: /tmp is full at tmp_mb (200).
process.chdir('/tmp');
for (let i = 0; i < 3; i++) attempt('snapshot', () => { require('v8').writeHeapSnapshot(`/tmp/heap-${i}`); });
let total = 0;
for (const name of fs.readdirSync('/tmp')) total += fs.statSync('/tmp/' + name).size;
(total > 9 << 20 ? escaped : held)('bytes', total);
say('end');

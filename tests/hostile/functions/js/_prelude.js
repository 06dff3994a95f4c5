// Stands in front of every JavaScript probe. A probe prints "held" for what was refused and "ESCAPED" for what got
// through; "end" says that it tried all. What is neither fails the probe.
const fs = require('fs');
function say(line) { try { fs.writeSync(1, line + '\n'); } catch { /* closed by the probe */ } }
function held(what, why = '') { say(`held ${what}: ${why}`); }
function escaped(what, evidence = '') { say(`ESCAPED ${what}: ${evidence}`); }
// An error with a code (of a system call, or of Node.js itself) is a refusal.
function attempt(what, action) {
  try {
    const evidence = action();
    (evidence ? escaped : held)(what, evidence);
  } catch (error) {
    if (error.code === undefined && error.errno === undefined) throw error;
    held(what, error.message);
  }
}
function readTarget() { return JSON.parse(fs.readFileSync(0, 'utf8')); }
say('begin');

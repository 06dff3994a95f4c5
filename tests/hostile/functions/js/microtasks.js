// Tries: to hang without a loop that could be seen: promises that never let timers run. Expected: 504 timeout.
say('ready');
(function again() { return Promise.resolve().then(again); })();
setTimeout(() => escaped('timer', 'ran'), 10);

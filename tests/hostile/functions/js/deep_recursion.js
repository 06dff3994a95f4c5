// Tries: to run over the end of the C stack, with V8's own limit raised. Expected: its process dies (502), or it throws (500).
require('v8').setFlagsFromString('--stack-size=65500');
function dive(n) { return [n].map((x) => dive(x + 1)); }
setTimeout(() => require('vm').runInNewContext('(function dive(n) { return dive(n + 1) + 1; })(0)'), 1);
setTimeout(() => dive(0), 1);

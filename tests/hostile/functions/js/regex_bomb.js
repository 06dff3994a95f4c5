// Tries: to compute for ever inside of the engine, where scripts are not interrupted. Expected: 504 timeout.
say('ready');
/^(a+)+$/.test('a'.repeat(60) + 'b');
escaped('regex', 'ended');

// Tries: an answer that never stops to be one: a thenable that resolves to itself, getters that throw, endless strings.
// Expected: 504 timeout or 500 exception.
exports.handler = async () => ({ then(resolve) { setImmediate(() => resolve({ then: this.then })); } });

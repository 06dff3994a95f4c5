// Tries: to answer late, in the name of a later call: what the call before began ends in the next one.
// Expected: each call has its own answer (200).
let before = null;
exports.handler = async (event) => {
  if (before) before('late');
  setTimeout(() => console.log('late print'), 5);
  new Promise((resolve) => { before = resolve; }).then((value) => console.log(value));
  return `answer-${event.call}`;
};

// Tries: to leave its caller without an answer: it closes the descriptors 0 to 9 and returns. Expected: 502, or the answer,
// which stood in the shared page already (200).
exports.handler = async () => {
  for (let fd = 0; fd < 10; fd++) try { fs.closeSync(fd); } catch { /* not open */ }
  return 'end';
};

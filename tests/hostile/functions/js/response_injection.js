// Tries: a response that would split the gateway's answer: line ends in a header, a length that is not the body's.
// Expected: refused or cleaned; exactly one answer.
exports.handler = async () => ({ statusCode: 200, headers: { 'content-length': '5', 'transfer-encoding': 'chunked', 'x-a': 'b\r\nx-evil: 1' },
  body: 'much longer than five bytes' });

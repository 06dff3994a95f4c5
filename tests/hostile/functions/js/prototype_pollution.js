// Tries: to change what the platform's own code in its process goes by: prototypes of objects, promises, buffers, and the
// functions of fs. Expected: its own calls may fail (500, 502) or be answered, each once; others are not touched.
exports.handler = async () => {
  const evil = () => { throw new Error('polluted'); };
  Object.prototype.toJSON = () => 'POLLUTED';
  Object.prototype.get = Object.prototype.set = undefined;
  Object.prototype.status = 999;
  Array.prototype[Symbol.iterator] = evil;
  Promise.prototype.then = evil;
  Buffer.prototype.writeUInt32LE = Buffer.prototype.copy = evil;
  fs.writeSync = fs.readSync = evil;
  JSON.stringify = () => 'POLLUTED';
  Map.prototype.get = evil;
  return { value: 'end' };
};

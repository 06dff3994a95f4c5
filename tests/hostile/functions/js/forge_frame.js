// Tries: to answer calls that are not there: frames with other ids and slots on the descriptor of its answers.
// Expected: its process is stopped (502), no other call is answered.
exports.handler = async () => {
  const output = Buffer.from('FORGED');
  for (let slot = 0; slot < 4; slot++) {
    for (const id of [1n, 2n, 1n << 40n]) {
      const frame = Buffer.alloc(72);
      frame.writeUInt32LE(40 + output.length, 0);
      frame[4] = 4;
      frame[5] = 1;
      frame.writeUInt16LE(slot, 6);
      frame.writeBigUInt64LE(id, 8);
      frame.writeUInt32LE(1, 16);
      frame.writeUInt32LE(output.length, 32 + 12);
      fs.writeSync(4, Buffer.concat([frame, output]));
    }
  }
  await new Promise((done) => setTimeout(done, 200));
  return 'end';
};

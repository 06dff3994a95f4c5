// Tries: TCP to the gateway and to a port of the host, UDP, and a UNIX socket. Expected: nothing arrives (200; the test
// counts).
const net = require('net');
const dgram = require('dgram');
const target = readTarget();
const places = [];
for (const host of ['127.0.0.1', '::1', '0.0.0.0']) for (const port of [target.gateway, target.tcp]) places.push({ host, port });
places.push({ path: target.unix }, { path: '\0' + target.abstract }, { path: target.run + '/faas_server.sock' });
let open = places.length + 1;
const done = () => { if (--open === 0) { say('end'); process.exit(0); } };
for (const place of places) {
  const socket = net.connect(place);
  socket.setTimeout(1000);
  const name = JSON.stringify(place);
  socket.on('connect', () => { escaped(name, 'connected'); socket.destroy(); });
  socket.on('timeout', () => { held(name, 'timeout'); socket.destroy(); });
  socket.on('error', (error) => held(name, error.code));
  socket.on('close', done);
}
const udp = dgram.createSocket('udp4');
udp.on('error', (error) => { held('udp', error.code); done(); });
udp.send('hostile', target.udp, '127.0.0.1', (error) => { held('udp', error ? error.code : 'sent somewhere'); udp.close(done); });

// Tries: to call the gateway's own routes by fetch. Expected: not reached (200).
const target = readTarget();
(async () => {
  for (const path of ['/functions', '/deploy?name=evil&lang=js']) {
    try {
      const response = await fetch(`http://127.0.0.1:${target.gateway}${path}`, { signal: AbortSignal.timeout(1000) });
      escaped(path, response.status);
    } catch (error) { held(path, String(error.cause || error)); }
  }
  say('end');
})();

# Tries: to deploy and call functions itself, by HTTP to the gateway. Expected: not reached (200).
import urllib.request
target = read_target()
for path in ("/functions", "/metrics", "/deploy?name=evil&lang=python"):
    attempt(path, lambda: urllib.request.urlopen(f"http://127.0.0.1:{target['gateway']}{path}", timeout=1).read(64))
say("end")

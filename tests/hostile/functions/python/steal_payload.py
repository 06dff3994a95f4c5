# Tries: payloads of calls that are not its own, with isolation=call: in the memory of its process, in the memory of its
# parent, in the pipe, and in what the call before left. Expected: it finds its own only (200).
import gc
def search(needle):
    found = set()
    for line in open("/proc/self/maps"):
        fields = line.split()
        if not fields[1].startswith("rw") or "[v" in line:
            continue
        start, end = (int(part, 16) for part in fields[0].split("-"))
        with open("/proc/self/mem", "rb") as memory:
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except OSError:
                continue
        at = data.find(needle)
        while at >= 0:
            found.add(data[at : at + len(needle) + 8])
            at = data.find(needle, at + 1)
    return found
def handler(event, context):
    needle = "".join(reversed("-terces-rellac")).encode()  # not to be found itself
    own = needle + event["number"].encode()
    others = [text for text in search(needle) if text != own and text[len(needle):].isdigit()]
    for text in others:
        escaped("payload", text)
    return {"own": event["number"], "others": [text.decode("latin-1") for text in others], "escaped": len(others)}

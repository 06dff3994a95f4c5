# Tries: to confuse the gateway through the page that they share: every word of it is overwritten, the gateway's too.
# Expected: at most its own calls suffer (an answer, or 502), and the next process works.
import mmap
def handler(event, context):
    if (event or {}).get("call") == 0:
        with mmap.mmap(5, 4096) as page:
            page[:] = b"\xff" * 4096
            page[8:16] = (1 << 32 | 9).to_bytes(8, "little")
    return "end"

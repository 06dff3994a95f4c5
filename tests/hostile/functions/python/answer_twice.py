# Tries: to answer its own call twice: once by a frame of its own making, with the ids taken from the platform's frames on the
# stack, then by returning. Expected: exactly one answer for each call; the second is not taken for another call's.
import struct
def handler(event, context):
    frame = sys._getframe()
    while frame and not hasattr(frame.f_locals.get("frame"), "call_id"):
        frame = frame.f_back
    call = frame.f_locals["frame"]
    output = b'"FIRST"'
    for _ in range(2):
        os.write(4, struct.pack("<IBBHQIIQ", 40 + len(output), 4, 1, call.slot, call.call_id, call.key, 0, 0)
                 + struct.pack("<IiIIIIQQ", 0, 0, 0, len(output), 0, 0, 0, 0) + output)  # fmt: skip
    return "SECOND"

# Tries: to answer a call that is not there: it writes frames with other ids and slots on the descriptor of its answers.
# Expected: its process is stopped (502), no other call is answered.
import struct
def handler(event, context):
    output = b"FORGED"
    for slot in range(4):
        for call_id in (1, 2, 3, 1 << 40):
            frame = struct.pack("<IBBHQIIQ", 40 + len(output), 4, 1, slot, call_id, 1, 0, 0)
            frame += struct.pack("<IiIIIIQQ", 0, 0, 0, len(output), 0, 0, 0, 0) + output
            os.write(4, frame)
    time.sleep(0.2)
    return "end"

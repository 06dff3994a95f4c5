# Tries: to make the gateway allocate what a frame says that it is long: 4 GiB. Expected: its process is stopped (502).
import struct
def handler(event, context):
    os.write(4, struct.pack("<IBBHQIIQ", 0xFFFFFFFF, 4, 1, 0, 1, 1, 0, 0) + bytes(4096))
    time.sleep(0.2)
    return "end"

# Tries: to break the gateway's reader with bytes that are no frame. Expected: its process is stopped (502).
def handler(event, context):
    os.write(4, os.urandom(8192))
    time.sleep(0.2)
    return "end"

# Tries: to work on after its answer, in a thread, and to print into the answers of later calls. Expected: later calls have
# their own answers (200).
import threading
def flood():
    while True:
        os.write(1, b"FLOOD\n")
        time.sleep(0.001)
def handler(event, context):
    if (event or {}).get("call") == 0:
        threading.Thread(target=flood, daemon=True).start()
    return f"answer-{(event or {}).get('call')}"

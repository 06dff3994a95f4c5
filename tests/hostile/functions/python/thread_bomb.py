# Tries: up to 300 threads where 16 processes are allowed. Expected: refused (500 processes).
import threading
for count in range(300):
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
escaped("threads", count + 1)
say("end")
os._exit(0)

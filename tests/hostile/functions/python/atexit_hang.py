# Tries: to hang after its program has ended: in atexit hooks, in a thread that is not a daemon. Expected: 504 timeout.
import atexit
import threading
say("ready")
atexit.register(time.sleep, 20)
threading.Thread(target=time.sleep, args=(20,)).start()

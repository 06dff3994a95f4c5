# Tries: an exit code that is none. Expected: 500 exit.
os._exit((1 << 31) - 1)

# Tries: to set the clock, the host's name, the domain, and the time of others. Expected: refused (200). The values are the
# ones that are there.
now = (ctypes.c_long * 2)(int(time.time()), 0)
attempt("clock_settime", lambda: call(227, 7, now) == 0 and "set")
attempt("settimeofday", lambda: call(164, 0, (ctypes.c_int * 2)(0, 0)) == 0 and "set")
name = os.uname().nodename.encode()
attempt("sethostname", lambda: call(170, name, len(name)) == 0 and "set")
attempt("adjtimex", lambda: call(159, (ctypes.c_int * 64)(0x0010)) >= 0 and "set")
say("end")

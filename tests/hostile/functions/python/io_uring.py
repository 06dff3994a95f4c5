# Tries: io_uring, whose requests no filter of system calls sees. Expected: refused (200).
parameters = (ctypes.c_uint8 * 120)()
attempt("io_uring_setup", lambda: f"ring {call(425, 4, parameters)}")
attempt("io_uring_register", lambda: f"registered {call(427, -1, 8, 0, 0)}" )
context = ctypes.c_uint64()
attempt("io_setup", lambda: f"context {call(206, 4, context)}")
say("end")

# Tries: the kernel's key rings, which namespaces do not separate. Expected: refused (200).
name = b"hostile-" + read_target()["marker"].encode()
attempt("add_key", lambda: f"key {call(248, b'user', name, b'x', 1, -2)}")
attempt("request_key", lambda: f"key {call(249, b'user', name, 0, 0)}")
attempt("keyctl session", lambda: f"ring {call(250, 0, -3, 0)}")
attempt("keyctl join", lambda: f"ring {call(250, 1, name)}")
attempt("/proc/keys", lambda: open("/proc/keys").read(64))
say("end")

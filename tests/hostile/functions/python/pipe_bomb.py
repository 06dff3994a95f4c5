# Tries: kernel memory in pipes, up to 200 MiB where memory_mb is 32. Expected: less than 100 MiB get in, or 507 oom.
total = 0
keep = []
try:
    for _ in range(200):
        pair = os.pipe()
        keep.append(pair)
        import fcntl
        fcntl.fcntl(pair[1], 1031, 1 << 20)
        os.set_blocking(pair[1], False)
        total += os.write(pair[1], b"x" * (1 << 20))
except OSError as error:
    held("pipe", error)
(escaped if total > 100 << 20 else held)("bytes", total)
say("end")

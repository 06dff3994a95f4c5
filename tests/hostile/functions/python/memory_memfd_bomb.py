# Tries: memory in files without a name (memfd), up to 300 MiB where memory_mb is 32. Expected: 507 oom.
files = []
for count in range(0, 300, 10):
    files.append(os.memfd_create("bomb"))
    for _ in range(10):
        if os.write(files[-1], b"x" * (1 << 20)) != 1 << 20:
            raise MemoryError
escaped("MiB", count + 10)
say("end")

# Tries: up to 300 MiB where memory_mb is 32. Expected: 507 oom.
held_blocks = []
for count in range(300):
    held_blocks.append(bytearray(b"x") * (1 << 20))
escaped("MiB", count + 1)
say("end")

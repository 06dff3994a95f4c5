# Tries: memory that limits on private memory do not count: shared anonymous mappings, up to 300 MiB where memory_mb is 32.
# Expected: 507 oom.
import mmap
blocks = []
for count in range(0, 300, 10):
    block = mmap.mmap(-1, 10 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    for page in range(0, 10 << 20, 4096):
        block[page] = 1
    blocks.append(block)
escaped("MiB", count + 10)
say("end")

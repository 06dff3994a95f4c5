# Tries: the memory of one call in many processes: 12 times 25 MiB where memory_mb is 32. Expected: 507 oom (the limit is the
# call's, not the process's), and none of them stays.
target = read_target()
mark(target["marker"])
reader, writer = os.pipe()
for _ in range(12):
    if os.fork() == 0:
        block = b"x" * (25 << 20)
        os.write(writer, b"1")
        time.sleep(2)
        os._exit(0)
os.close(writer)
got = b""
while part := os.read(reader, 100):
    got += part
(escaped if len(got) == 12 else held)("children with 25 MiB", len(got))
say("end")
os.kill(os.getpid(), 9)

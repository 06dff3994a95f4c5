# Tries: to fill the host's disk through its log: 64 MiB on stderr. Expected: the log is bounded (200; the test measures it).
block = b"x" * 65535 + b"\n"
for _ in range(1024):
    os.write(2, block)
say("end")

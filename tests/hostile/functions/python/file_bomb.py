# Tries: up to 64 MiB of files where tmp_mb is 8. Expected: the file system is full (200, no more than 8 MiB).
total = 0
try:
    for count in range(64):
        with open(f"/tmp/bomb-{count}", "wb", buffering=0) as file:
            total += file.write(b"x" * (1 << 20))
except OSError as error:
    held("write", error)
(escaped if total > 9 << 20 else held)("bytes", total)
say("end")

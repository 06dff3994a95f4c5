# Tries: to leave a full /tmp to the next caller. Expected: the next one has all of it again (200, twice).
try:
    with open(f"/tmp/full", "xb", buffering=0) as file:
        written = sum(file.write(b"x" * 65536) for _ in range(32))
    (held if written == 32 * 65536 else escaped)("room", written)
    for number in range(400):
        open(f"/tmp/full-{number}", "wb").write(b"x" * 65536)
except FileExistsError:
    escaped("room", "the file of the call before is there")
except OSError as error:
    held("full", error)
say("end")

# Tries: more of the processors than its time: threads and children that compute, until its deadline. Expected: 504 timeout,
# and no child is left.
target = read_target()
mark(target["marker"])
say("ready")
for _ in range(3):
    if os.fork() == 0:
        break
end = time.monotonic() + 20
while time.monotonic() < end:
    pass

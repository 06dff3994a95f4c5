# Tries: a tree of processes, each of which forks again, where a refusal is ignored; at most 255. Expected: never more than
# the limit at a time (the call ends with 200 and its own count), and none of them stays.
target = read_target()
mark(target["marker"])
root = os.getpid()
reader, writer = os.pipe()
for _ in range(8):
    try:
        os.fork()
    except OSError:
        pass
os.write(writer, b"x")
if os.getpid() == root:
    os.close(writer)
    time.sleep(0.3)
    os.set_blocking(reader, False)
    count = len(os.read(reader, 1000))
    (escaped if count > 40 else held)("processes", count)
    say("end")
else:
    time.sleep(1)
    os._exit(0)

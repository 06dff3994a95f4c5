# Tries: up to 200 processes where 16 are allowed. Expected: fork is refused (500 processes), and none of them stays.
target = read_target()
mark(target["marker"])
for count in range(200):
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
escaped("processes", count + 1)
say("end")

# Tries: 20,000 empty files, which cost the kernel memory, where tmp_mb is 8. Expected: refused before that (200).
folder = "/tmp/inodes"
made = 0
try:
    os.mkdir(folder)
    for made in range(20000):
        os.close(os.open(f"{folder}/{made}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    held("create", error)
(escaped if made > 10000 else held)("files", made)
say("end")

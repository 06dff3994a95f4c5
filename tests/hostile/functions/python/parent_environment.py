# Tries: the environment of every process that it can see, and its own. Expected: the platform's is in none (200; the
# test looks for its canary in the output).
seen = 0
for pid in processes() + ["self", "thread-self"]:
    for part in ("environ", "cmdline", "auxv"):
        try:
            text = open(f"/proc/{pid}/{part}", "rb").read()
        except OSError:
            continue
        seen += 1
        if b"FAAS_CANARY" in text or b"minifaas" in text or b"FAAS_DATA" in text:
            escaped(f"{part} of {pid}", text[:200])
if "FAAS_CANARY" in os.environ:
    escaped("environment", os.environ["FAAS_CANARY"])
libc.getenv.restype = ctypes.c_char_p
if libc.getenv(b"FAAS_CANARY"):
    escaped("getenv", libc.getenv(b"FAAS_CANARY"))
held("environments", seen)
say("end")

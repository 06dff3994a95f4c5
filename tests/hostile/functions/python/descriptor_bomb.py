# Tries: 5,000 descriptors. Expected: refused at about a thousand (200).
got = []
try:
    while len(got) < 5000:
        got.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    held("open", error)
(escaped if len(got) > 1100 else held)("descriptors", len(got))
os.closerange(64, 1100)
say("end")

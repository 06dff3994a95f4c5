# Tries: to confuse the platform by closing every descriptor and putting others in their place. Expected: an empty answer (200),
# since nothing of it was printed after that.
say("end")
os.closerange(0, 64)
for _ in range(10):
    os.open("/dev/null", os.O_RDWR)

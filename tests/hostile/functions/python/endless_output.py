# Tries: to print without end where output_mb is 1. Expected: 500 output.
block = "x" * 65536
for _ in range(640):
    os.write(1, block.encode())
escaped("output", "40 MiB")

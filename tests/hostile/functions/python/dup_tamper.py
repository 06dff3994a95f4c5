# Tries: to let its prints go where its answers go, and its answers where its prints go. Expected: 502.
def handler(event, context):
    os.dup2(4, 9)
    os.dup2(1, 4)
    os.dup2(9, 1)
    print("x" * 200, flush=True)
    return "end"

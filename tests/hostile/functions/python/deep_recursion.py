# Tries: to run over the end of the C stack. Expected: its process dies (502 crash), or the interpreter notices.
sys.setrecursionlimit(1 << 30)
def dive(n):
    return sorted([n], key=lambda k: dive(k + 1))
dive(0)

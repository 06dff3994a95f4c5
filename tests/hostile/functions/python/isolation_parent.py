# Tries: with isolation=call, to reach the process that forks for each call, and through it the next caller: its memory, its
# signals, its descriptors. Expected: nothing of it is open to a call (200, its counter is 1).
counter = 0
def handler(event, context):
    global counter
    counter += 1
    if counter != 1:
        escaped("counter", counter)
    parent = os.getppid()
    address = id(handler)
    def memory():
        with open(f"/proc/{parent}/mem", "r+b", buffering=0) as file:
            file.seek(address)
            return f"{len(file.read(8))} bytes, open for writing"
    def vm_read():
        buffer = ctypes.create_string_buffer(8)
        vectors = (ctypes.c_void_p * 4)(ctypes.addressof(buffer), 8, address, 8)
        return call(310, parent, vectors, 1, ctypes.addressof(vectors) + 16, 1, 0)
    attempt("the parent's memory", memory)
    attempt("process_vm_readv", vm_read)
    attempt("ptrace", lambda: call(101, 0x4206, parent, 0, 0) == 0 and "seized")
    for fd in (3, 4, 5):
        attempt(f"descriptor {fd}", lambda: os.readlink(f"/proc/self/fd/{fd}"))
    attempt("the parent's descriptors", lambda: [os.readlink(f"/proc/{parent}/fd/{fd}") for fd in os.listdir(f"/proc/{parent}/fd")])
    say("end")
    return counter

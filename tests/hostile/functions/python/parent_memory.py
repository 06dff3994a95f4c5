# Tries: the memory and descriptors of its parent, of its init and of processes of the host: /proc/PID/mem,
# process_vm_readv, pidfd_getfd. Expected: refused, or no such process (200).
target = read_target()
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
for pid in {1, os.getppid(), *target["pids"]} - {os.getpid()}:
    def memory():
        for line in open(f"/proc/{pid}/maps"):
            start = int(line.partition("-")[0], 16)
            with open(f"/proc/{pid}/mem", "rb") as file:
                file.seek(start)
                return file.read(8)
    def vm_read():
        start = libc.getpid and ctypes.cast(libc.getpid, ctypes.c_void_p).value
        remote = (ctypes.c_void_p * 2)(start, 8)
        return call(310, pid, vector, 1, remote, 1, 0)
    def steal():
        for fd in range(3):
            return f"descriptor {call(438, call(434, pid, 0), fd, 0)}"
    attempt(f"/proc/{pid}/mem", memory)
    attempt(f"process_vm_readv {pid}", vm_read)
    attempt(f"pidfd_getfd {pid}", steal)
    attempt(f"/proc/{pid}/fd", lambda: os.listdir(f"/proc/{pid}/fd"))
say("end")

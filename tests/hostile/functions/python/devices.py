# Tries: devices: to make their nodes, and to open memory, disks, consoles, and the terminal. Expected: none (200).
import fcntl
import stat
for name, mode, number in (("mem", stat.S_IFCHR, os.makedev(1, 1)), ("disk", stat.S_IFBLK, os.makedev(254, 0)),
                           ("null", stat.S_IFCHR, os.makedev(1, 3)), ("fuse", stat.S_IFCHR, os.makedev(10, 229))):  # fmt: skip
    def make():
        os.mknod(f"/tmp/{name}", mode | 0o666, number)
        os.unlink(f"/tmp/{name}")
        return "made"
    attempt("mknod " + name, make)
for path in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/tty", "/dev/console", "/dev/ptmx",
             "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/loop-control", "/dev/mapper/control", "/dev/vhost-net", "/dev/userfaultfd"):  # fmt: skip
    attempt(path, lambda: f"descriptor {os.open(path, os.O_RDONLY)}")
for fd in range(3):
    attempt(f"TIOCSTI on {fd}", lambda: fcntl.ioctl(fd, 0x5412, b"x") is not None and "pushed")
say("end")

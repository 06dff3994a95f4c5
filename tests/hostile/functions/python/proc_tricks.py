# Tries: what /proc tells of the kernel and the host, and what can be set there. Expected: no address, no mount of the host,
# nothing to write (200). Files are opened for writing, nothing is written.
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger", "/proc/sys/vm/panic_on_oom",
             "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/1/oom_score_adj",
             "/proc/irq/default_smp_affinity", "/proc/acpi/wakeup", "/sys/kernel/uevent_helper",
             "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/tasks", "/sys/power/state"):  # fmt: skip
    attempt("write " + path, lambda: os.open(path, os.O_WRONLY) and "opened for writing")
for path in ("/proc/kcore", "/proc/kmem", "/proc/1/maps", "/proc/1/environ", "/proc/1/stack", "/proc/kpagecount", "/proc/vmallocinfo"):
    attempt("read " + path, lambda: open(path, "rb").read(64))
attempt("kernel addresses", lambda: [l for l in open("/proc/kallsyms").read(4000).splitlines() if int(l.split()[0], 16)])
def mounts():
    own = ("/proc", "/tmp", "/usr", "/bin", "/sbin", "/lib", "/dev", "/etc", "/faas", "/opt", "/")
    return [line for line in open("/proc/self/mountinfo").read().splitlines()
            if not any(line.split()[4] == top or line.split()[4].startswith(top.rstrip("/") + "/") for top in own[:-1]) and line.split()[4] != "/"]  # fmt: skip
attempt("other mounts", mounts)
say("end")

# Tries: to get more of the processors than others: real-time scheduling, a higher priority, real-time I/O, higher limits.
# Expected: refused (200).
import resource
attempt("SCHED_FIFO", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) is None and "real time")
attempt("SCHED_RR", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)) is None and "real time")
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -10) is None and "priority -10")
attempt("ioprio", lambda: call(251, 1, 0, 1 << 13) == 0 and "real-time I/O")
def unkillable():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return "the last to be killed"
attempt("oom_score_adj", unkillable)
for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE", "RLIMIT_DATA"):
    which = getattr(resource, name)
    hard = resource.getrlimit(which)[1]
    if hard == resource.RLIM_INFINITY:
        escaped(name, "there is none")
        continue
    try:
        resource.setrlimit(which, (hard + 1, hard + 1))
        escaped(name, hard + 1)
    except (OSError, ValueError) as error:
        held(name, error)
say("end")

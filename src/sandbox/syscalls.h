/* Which system calls the code of strangers may make, by what they are for. What is in no list gets ENOSYS:
 * a C library or an interpreter that tries something new then falls back to what it did before, where EPERM
 * would end it.
 *
 * X(name, who, rule): `who` names the kinds of process that may (see enum sandbox_kind), `rule` what is
 * looked at besides the number (see seccomp.c); YES is nothing. */
#ifndef FAAS_SANDBOX_SYSCALLS_H
#define FAAS_SANDBOX_SYSCALLS_H

/* B: builders, i.e. compilers. P: Python. N: Node.js. W: a WASM worker, once it has sealed itself: everything
 * that it needs to start, and to make threads, is behind it by then. */
enum {
    SYSCALLS_B = 1,
    SYSCALLS_P = 2,
    SYSCALLS_N = 4,
    SYSCALLS_W = 8,
    SYSCALLS_PN = SYSCALLS_P | SYSCALLS_N,
    SYSCALLS_BPN = SYSCALLS_B | SYSCALLS_PN,
    SYSCALLS_ALL = SYSCALLS_BPN | SYSCALLS_W,
};

#define SYSCALLS_ALLOWED(X)                                                                                  \
    /* descriptors that are there: pipes, the page */                                                        \
    X(read, ALL, YES)                                                                                        \
    X(write, ALL, YES)                                                                                       \
    X(readv, ALL, YES)                                                                                       \
    X(writev, ALL, YES)                                                                                      \
    X(pread64, ALL, YES)                                                                                     \
    X(pwrite64, ALL, YES)                                                                                    \
    X(preadv, BPN, YES)                                                                                      \
    X(pwritev, BPN, YES)                                                                                     \
    X(preadv2, BPN, YES)                                                                                     \
    X(pwritev2, BPN, YES)                                                                                    \
    X(lseek, ALL, YES)                                                                                       \
    X(close, ALL, YES)                                                                                       \
    X(close_range, BPN, YES)                                                                                 \
    X(dup, BPN, YES)                                                                                         \
    X(dup3, BPN, YES)                                                                                        \
    X(pipe2, BPN, YES)                                                                                       \
    X(fcntl, BPN, YES)                                                                                       \
    X(fcntl, W, FCNTL_OWN)                                                                                   \
    X(ioctl, BPN, IOCTL_TERMINAL)                                                                            \
    X(ioctl, W, IOCTL_PAGEMAP)                                                                               \
    X(sendfile, BPN, YES)                                                                                    \
    X(splice, PN, YES)                                                                                       \
    X(tee, PN, YES)                                                                                          \
    X(copy_file_range, BPN, YES)                                                                             \
    /* waiting for them */                                                                                   \
    X(ppoll, ALL, YES)                                                                                       \
    X(pselect6, BPN, YES)                                                                                    \
    X(epoll_create1, BPN, YES)                                                                               \
    X(epoll_ctl, BPN, YES)                                                                                   \
    X(epoll_pwait, BPN, YES)                                                                                 \
    X(epoll_pwait2, BPN, YES)                                                                                \
    X(eventfd2, BPN, YES)                                                                                    \
    X(signalfd4, PN, YES)                                                                                    \
    X(timerfd_create, PN, YES)                                                                               \
    X(timerfd_settime, PN, YES)                                                                              \
    X(timerfd_gettime, PN, YES)                                                                              \
    X(inotify_init1, PN, YES)                                                                                \
    X(inotify_add_watch, PN, YES)                                                                            \
    X(inotify_rm_watch, PN, YES)                                                                             \
    /* memory, native code included */                                                                       \
    X(mmap, BPN, MAP)                                                                                        \
    X(mmap, W, YES)                                                                                          \
    X(munmap, ALL, YES)                                                                                      \
    X(mprotect, ALL, YES)                                                                                    \
    X(madvise, ALL, YES)                                                                                     \
    X(mremap, ALL, YES)                                                                                      \
    X(brk, ALL, YES)                                                                                         \
    X(msync, PN, YES)                                                                                        \
    X(mincore, BPN, YES)                                                                                     \
    X(mlock, PN, YES)                                                                                        \
    X(mlock2, PN, YES)                                                                                       \
    X(munlock, PN, YES)                                                                                      \
    X(memfd_create, BPN, MEMFD)                                                                              \
    X(memfd_create, W, YES)                                                                                  \
    X(membarrier, ALL, YES)                                                                                  \
    X(get_mempolicy, BPN, YES)                                                                               \
    /* time, random numbers, locks */                                                                        \
    X(clock_gettime, ALL, YES)                                                                               \
    X(clock_getres, ALL, YES)                                                                                \
    X(gettimeofday, ALL, YES)                                                                                \
    X(nanosleep, ALL, YES)                                                                                   \
    X(clock_nanosleep, ALL, YES)                                                                             \
    X(times, BPN, YES)                                                                                       \
    X(getrandom, ALL, YES)                                                                                   \
    X(futex, ALL, YES)                                                                                       \
    X(futex_waitv, BPN, YES)                                                                                 \
    X(sched_yield, ALL, YES)                                                                                 \
    X(restart_syscall, ALL, YES)                                                                             \
    X(set_robust_list, ALL, YES)                                                                             \
    X(get_robust_list, BPN, YES)                                                                             \
    X(rseq, ALL, YES)                                                                                        \
    /* signals: inside its pid namespace; a worker to itself only */                                         \
    X(rt_sigaction, ALL, YES)                                                                                \
    X(rt_sigprocmask, ALL, YES)                                                                              \
    X(rt_sigreturn, ALL, YES)                                                                                \
    X(rt_sigpending, BPN, YES)                                                                               \
    X(rt_sigsuspend, BPN, YES)                                                                               \
    X(rt_sigtimedwait, BPN, YES)                                                                             \
    X(rt_sigqueueinfo, PN, KILL_OWN)                                                                         \
    X(sigaltstack, ALL, YES)                                                                                 \
    X(kill, BPN, KILL_OWN)                                                                                   \
    X(tgkill, BPN, KILL_OWN)                                                                                 \
    X(tgkill, W, SELF)                                                                                       \
    X(tkill, BPN, KILL_OWN)                                                                                  \
    X(pidfd_open, PN, KILL_OWN)                                                                              \
    X(pidfd_send_signal, PN, YES)                                                                            \
    X(setitimer, PN, YES)                                                                                    \
    X(getitimer, PN, YES)                                                                                    \
    X(timer_create, PN, YES)                                                                                 \
    X(timer_settime, PN, YES)                                                                                \
    X(timer_gettime, PN, YES)                                                                                \
    X(timer_getoverrun, PN, YES)                                                                             \
    X(timer_delete, PN, YES)                                                                                 \
    /* processes and threads; clone3 is not here (its flags are in memory): libraries fall back to clone */  \
    X(clone, BPN, CLONE)                                                                                     \
    X(execve, BPN, YES)                                                                                      \
    X(execveat, BPN, YES)                                                                                    \
    X(wait4, BPN, YES)                                                                                       \
    X(waitid, BPN, YES)                                                                                      \
    X(exit, ALL, YES)                                                                                        \
    X(exit_group, ALL, YES)                                                                                  \
    X(set_tid_address, BPN, YES)                                                                             \
    X(getpid, ALL, YES)                                                                                      \
    X(gettid, ALL, YES)                                                                                      \
    X(getppid, BPN, YES)                                                                                     \
    X(getpgid, BPN, YES)                                                                                     \
    X(setpgid, BPN, YES)                                                                                     \
    X(getsid, BPN, YES)                                                                                      \
    X(setsid, BPN, YES)                                                                                      \
    X(prctl, BPN, PRCTL)                                                                                     \
    X(prctl, W, PRCTL)                                                                                       \
    X(getrusage, ALL, YES)                                                                                   \
    X(prlimit64, ALL, OWN_LIMITS)                                                                            \
    X(getrlimit, BPN, YES)                                                                                   \
    X(setrlimit, BPN, YES)                                                                                   \
    X(getpriority, BPN, YES)                                                                                 \
    X(setpriority, BPN, YES)                                                                                 \
    X(sched_getaffinity, ALL, YES)                                                                           \
    X(sched_setaffinity, BPN, YES)                                                                           \
    X(sched_getparam, BPN, YES)                                                                              \
    X(sched_getscheduler, BPN, YES)                                                                          \
    X(sched_setscheduler, BPN, YES)                                                                          \
    X(sched_get_priority_max, BPN, YES)                                                                      \
    X(sched_get_priority_min, BPN, YES)                                                                      \
    X(getcpu, ALL, YES)                                                                                      \
    /* who am I, where am I */                                                                               \
    X(getuid, BPN, YES)                                                                                      \
    X(geteuid, BPN, YES)                                                                                     \
    X(getgid, BPN, YES)                                                                                      \
    X(getegid, BPN, YES)                                                                                     \
    X(getresuid, BPN, YES)                                                                                   \
    X(getresgid, BPN, YES)                                                                                   \
    X(getgroups, BPN, YES)                                                                                   \
    X(capget, BPN, YES)                                                                                      \
    X(personality, BPN, PERSONALITY)                                                                         \
    X(uname, BPN, YES)                                                                                       \
    X(sysinfo, BPN, YES)                                                                                     \
    X(umask, BPN, YES)                                                                                       \
    /* files, of which there are few to see */                                                               \
    X(openat, BPN, YES)                                                                                      \
    X(openat, W, OPEN_READ)                                                                                  \
    X(openat2, BPN, YES)                                                                                     \
    X(newfstatat, BPN, YES)                                                                                  \
    X(newfstatat, W, EMPTY_PATH)                                                                             \
    X(fstat, ALL, YES)                                                                                       \
    X(statx, BPN, YES)                                                                                       \
    X(statfs, BPN, YES)                                                                                      \
    X(fstatfs, BPN, YES)                                                                                     \
    X(faccessat, BPN, YES)                                                                                   \
    X(faccessat2, BPN, YES)                                                                                  \
    X(getdents64, BPN, YES)                                                                                  \
    X(getcwd, BPN, YES)                                                                                      \
    X(chdir, BPN, YES)                                                                                       \
    X(fchdir, BPN, YES)                                                                                      \
    X(readlinkat, BPN, YES)                                                                                  \
    X(mkdirat, BPN, YES)                                                                                     \
    X(mknodat, BPN, YES)                                                                                     \
    X(unlinkat, BPN, YES)                                                                                    \
    X(renameat, BPN, YES)                                                                                    \
    X(renameat2, BPN, YES)                                                                                   \
    X(linkat, BPN, YES)                                                                                      \
    X(symlinkat, BPN, YES)                                                                                   \
    X(truncate, BPN, YES)                                                                                    \
    X(ftruncate, ALL, YES)                                                                                   \
    X(fallocate, BPN, YES)                                                                                   \
    X(fadvise64, BPN, YES)                                                                                   \
    X(readahead, BPN, YES)                                                                                   \
    X(flock, BPN, YES)                                                                                       \
    X(fsync, BPN, YES)                                                                                       \
    X(fdatasync, BPN, YES)                                                                                   \
    X(sync_file_range, BPN, YES)                                                                             \
    X(fchmod, BPN, YES)                                                                                      \
    X(fchmodat, BPN, YES)                                                                                    \
    X(fchown, BPN, YES)                                                                                      \
    X(fchownat, BPN, YES)                                                                                    \
    X(utimensat, BPN, YES)                                                                                   \
    X(getxattr, BPN, YES)                                                                                    \
    X(lgetxattr, BPN, YES)                                                                                   \
    X(fgetxattr, BPN, YES)                                                                                   \
    X(listxattr, BPN, YES)                                                                                   \
    X(llistxattr, BPN, YES)                                                                                  \
    X(flistxattr, BPN, YES)                                                                                  \
    /* sockets between processes of one function, and of a worker to its server */                           \
    X(socket, PN, FAMILY)                                                                                    \
    X(socketpair, PN, PAIR)                                                                                  \
    X(bind, PN, YES)                                                                                         \
    X(listen, PN, YES)                                                                                       \
    X(connect, PN, YES)                                                                                      \
    X(accept4, PN, YES)                                                                                      \
    X(shutdown, PN, YES)                                                                                     \
    X(getsockname, PN, YES)                                                                                  \
    X(getpeername, PN, YES)                                                                                  \
    X(getsockopt, PN, YES)                                                                                   \
    X(setsockopt, PN, YES)                                                                                   \
    X(sendto, PN, YES)                                                                                       \
    X(recvfrom, PN, YES)                                                                                     \
    X(sendmmsg, PN, YES)                                                                                     \
    X(recvmmsg, PN, YES)                                                                                     \
    X(sendmsg, PN, YES)                                                                                      \
    X(recvmsg, PN, YES)                                                                                      \
    X(sendmsg, W, YES)                                                                                       \
    X(recvmsg, W, YES)                                                                                       \
    SYSCALLS_ALLOWED_X86(X)

/* Older forms that only x86 has. */
#ifdef __x86_64__
#define SYSCALLS_ALLOWED_X86(X)                                                                              \
    X(arch_prctl, BPN, YES)                                                                                  \
    X(poll, ALL, YES)                                                                                        \
    X(select, BPN, YES)                                                                                      \
    X(epoll_create, BPN, YES)                                                                                \
    X(epoll_wait, BPN, YES)                                                                                  \
    X(eventfd, BPN, YES)                                                                                     \
    X(signalfd, PN, YES)                                                                                     \
    X(inotify_init, PN, YES)                                                                                 \
    X(pause, BPN, YES)                                                                                       \
    X(alarm, PN, YES)                                                                                        \
    X(time, ALL, YES)                                                                                        \
    X(dup2, BPN, YES)                                                                                        \
    X(pipe, BPN, YES)                                                                                        \
    X(fork, BPN, YES)                                                                                        \
    X(vfork, BPN, YES)                                                                                       \
    X(getpgrp, BPN, YES)                                                                                     \
    X(open, BPN, YES)                                                                                        \
    X(creat, BPN, YES)                                                                                       \
    X(stat, BPN, YES)                                                                                        \
    X(lstat, BPN, YES)                                                                                       \
    X(access, BPN, YES)                                                                                      \
    X(getdents, BPN, YES)                                                                                    \
    X(readlink, BPN, YES)                                                                                    \
    X(mkdir, BPN, YES)                                                                                       \
    X(rmdir, BPN, YES)                                                                                       \
    X(mknod, BPN, YES)                                                                                       \
    X(unlink, BPN, YES)                                                                                      \
    X(rename, BPN, YES)                                                                                      \
    X(link, BPN, YES)                                                                                        \
    X(symlink, BPN, YES)                                                                                     \
    X(chmod, BPN, YES)                                                                                       \
    X(chown, BPN, YES)                                                                                       \
    X(lchown, BPN, YES)                                                                                      \
    X(utime, BPN, YES)                                                                                       \
    X(utimes, BPN, YES)                                                                                      \
    X(futimesat, BPN, YES)                                                                                   \
    X(accept, PN, YES)
#else
#define SYSCALLS_ALLOWED_X86(X)
#endif

/* X(name): what no function and no compiler has a use for, and what attacks on the kernel begin with. EPERM,
 * so that a program says that it is not allowed; a worker has no reason at all, and is killed (SIGSYS), as it
 * is for starting a program, a process or a socket. */
#define SYSCALLS_REFUSED(X)                                                                                  \
    /* other processes */                                                                                    \
    X(ptrace)                                                                                                \
    X(process_vm_readv)                                                                                      \
    X(process_vm_writev)                                                                                     \
    X(process_madvise)                                                                                       \
    X(pidfd_getfd)                                                                                           \
    X(kcmp)                                                                                                  \
    X(rt_tgsigqueueinfo)                                                                                     \
    /* namespaces and mounts */                                                                              \
    X(unshare)                                                                                               \
    X(setns)                                                                                                 \
    X(mount)                                                                                                 \
    X(umount2)                                                                                               \
    X(pivot_root)                                                                                            \
    X(chroot)                                                                                                \
    X(open_tree)                                                                                             \
    X(move_mount)                                                                                            \
    X(mount_setattr)                                                                                         \
    X(fsopen)                                                                                                \
    X(fsconfig)                                                                                              \
    X(fsmount)                                                                                               \
    X(fspick)                                                                                                \
    X(sethostname)                                                                                           \
    X(setdomainname)                                                                                         \
    /* rights */                                                                                             \
    X(capset)                                                                                                \
    X(setuid)                                                                                                \
    X(setgid)                                                                                                \
    X(setreuid)                                                                                              \
    X(setregid)                                                                                              \
    X(setresuid)                                                                                             \
    X(setresgid)                                                                                             \
    X(setfsuid)                                                                                              \
    X(setfsgid)                                                                                              \
    X(setgroups)                                                                                             \
    X(add_key)                                                                                               \
    X(request_key)                                                                                           \
    X(keyctl)                                                                                                \
    X(name_to_handle_at)                                                                                     \
    X(open_by_handle_at)                                                                                     \
    /* wide doors into the kernel */                                                                         \
    X(bpf)                                                                                                   \
    X(userfaultfd)                                                                                           \
    X(perf_event_open)                                                                                       \
    X(fanotify_init)                                                                                         \
    X(fanotify_mark)                                                                                         \
    X(quotactl)                                                                                              \
    X(syslog)                                                                                                \
    X(vmsplice)                                                                                              \
    /* memory that no control group counts, or that has another's name */                                    \
    X(shmget)                                                                                                \
    X(shmat)                                                                                                 \
    X(shmctl)                                                                                                \
    X(shmdt)                                                                                                 \
    X(semget)                                                                                                \
    X(semop)                                                                                                 \
    X(semtimedop)                                                                                            \
    X(semctl)                                                                                                \
    X(msgget)                                                                                                \
    X(msgsnd)                                                                                                \
    X(msgrcv)                                                                                                \
    X(msgctl)                                                                                                \
    X(mq_open)                                                                                               \
    X(mq_unlink)                                                                                             \
    /* the machine */                                                                                        \
    X(acct)                                                                                                  \
    X(adjtimex)                                                                                              \
    X(clock_adjtime)                                                                                         \
    X(clock_settime)                                                                                         \
    X(settimeofday)                                                                                          \
    X(init_module)                                                                                           \
    X(finit_module)                                                                                          \
    X(delete_module)                                                                                         \
    X(kexec_load)                                                                                            \
    X(kexec_file_load)                                                                                       \
    X(reboot)                                                                                                \
    X(swapon)                                                                                                \
    X(swapoff)                                                                                               \
    X(vhangup)                                                                                               \
    X(nfsservctl)                                                                                            \
    X(move_pages)                                                                                            \
    X(migrate_pages)                                                                                         \
    SYSCALLS_REFUSED_X86(X)

#ifdef __x86_64__
#define SYSCALLS_REFUSED_X86(X)                                                                              \
    X(iopl)                                                                                                  \
    X(ioperm)                                                                                                \
    X(modify_ldt)                                                                                            \
    X(uselib)                                                                                                \
    X(_sysctl)
#else
#define SYSCALLS_REFUSED_X86(X)
#endif

/* X(name): what a worker is killed for besides. */
#define SYSCALLS_FATAL_IN_WORKER(X)                                                                          \
    X(execve)                                                                                                \
    X(execveat)                                                                                              \
    X(clone)                                                                                                 \
    X(clone3)                                                                                                \
    X(socket)                                                                                                \
    X(kill)                                                                                                  \
    X(io_uring_setup)                                                                                        \
    X(io_uring_enter)                                                                                        \
    X(io_uring_register)

#endif

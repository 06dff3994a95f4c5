# Tries: system calls that change the machine, with arguments that make them fail after the check of the caller's rights.
# Expected: refused for lack of rights (200). Nothing could happen where they are allowed.
import errno
for name, number, arguments in (
    ("reboot", 169, (0, 0, 0, 0)), ("init_module", 175, (0, 0, b"")), ("finit_module", 313, (-1, b"", 0)), ("delete_module", 176, (b"hostile-no-such", 0)),
    ("kexec_load", 246, (0, 9999, 0, -1)), ("swapon", 167, (b"/hostile-no-such", 0)), ("quotactl", 179, (-1, b"/hostile", 0, 0)), ("acct", 163, (b"/hostile-no-such",)),
    ("ioperm", 173, (0x80, 1, 1)), ("iopl", 172, (3,)), ("syslog", 103, (3, 0, 0)), ("lookup_dcookie", 212, (0, 0, 0)), ("open_by_handle_at", 304, (-1, 0, 0)),
    ("userfaultfd", 323, (0,)), ("fanotify_init", 300, (0, 0)), ("modify_ldt", 154, (0, 0, 0)),
):  # fmt: skip
    try:
        call(number, *arguments)
        escaped(name, "no error")
    except OSError as error:
        (held if error.errno in (errno.EPERM, errno.ENOSYS, errno.EACCES) else escaped)(name, error)
say("end")

"""Started by the server as `python3 -I -S …/boot.py`, ahead of need: see docs/protocol.md, "Processes of
Node.js and Python".

Imports what a call may need, then blocks on descriptor 3 until the LOAD frame says whose process this is.
The platform's modules live in a package of their own, `faas_runtime`, found by its path and not by sys.path,
so that no name of theirs can hide one of the user's.
"""

import sys


def boot_package():
    package = type(sys)("faas_runtime")
    package.__path__ = [__file__.rpartition("/")[0] or "."]
    sys.modules["faas_runtime"] = package


boot_package()

from faas_runtime import process  # noqa: E402  (the package has to be there first)

if __name__ == "__main__":
    process.main()

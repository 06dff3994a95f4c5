/* Where the interpreters and compilers of this machine are: real binaries that a sandbox can see, never a
 * version manager's shim under somebody's private home. /usr/bin first, then /usr/local/bin, the set-up's own
 * cache (see programs_cache_dir), and only then PATH, links resolved, when the result can be read by others
 * or is ours. */
#ifndef FAAS_SANDBOX_PROGRAMS_H
#define FAAS_SANDBOX_PROGRAMS_H

#include <stddef.h>

#include "base/err.h"
#include "sandbox/sandbox.h"

enum program { PROGRAM_NODE, PROGRAM_PYTHON, PROGRAM_CLANG, PROGRAM_CLANGXX, PROGRAM_RUSTC, PROGRAM_COUNT };

/* Absolute path of a program that is new enough (Node.js 18, Python 3.11). ERR_NOT_INSTALLED with what to
 * install. */
int programs_find(enum program program, char *ret_path, size_t size, struct err *err);
/* ${XDG_CACHE_HOME:-$HOME/.cache}/minifaas, where scripts/setup.sh puts the engine and Rust's WASM library.
 */
int programs_cache_dir(char *ret_path, size_t size, struct err *err);
/* The directory that holds the parts' executables (that of /proc/self/exe); `runtimes/` is below it. */
int programs_parts_dir(char *ret_path, size_t size, struct err *err);
/* Adds to spec what any dynamically linked program of the system needs: /usr, /bin, /lib, /lib64 (links
 * kept), /etc/ld.so.cache, /etc/alternatives; nothing of /home, /root, /var, the rest of /etc. */
void programs_bind_system(struct sandbox_spec *spec);
/* Directory above the `bin` that a program is in: "/usr" for /usr/bin/node. */
void programs_prefix(const char *path, char *ret_prefix, size_t size);
/* Binds such a prefix when it is not under /usr already. Borrowed: must live until sandbox_start. */
void programs_bind_prefix(struct sandbox_spec *spec, const char *prefix);
/* "LD_LIBRARY_PATH=…" for a program that was unpacked beside its libraries. */
void programs_library_path(const char *path, char *ret_variable, size_t size);
/* The WASI target whose library a rustc has: "wasm32-wasip1" or "wasm32-wasi". */
bool programs_rust_target(const char *rustc, char *ret_target, size_t size);

#endif

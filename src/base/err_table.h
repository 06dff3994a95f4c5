/* Every error of the platform, once. X(code, HTTP status, cause, CLI exit status, what it means). The cause
 * is the JSON `cause` of an answer and the `cause` label of the metrics. Order is the wire's order: append
 * only. */
#define ERR_TABLE(X)                                                                                         \
    X(ERR_OK, 200, "ok", 0, "success")                                                                       \
    X(ERR_BAD_REQUEST, 400, "bad_request", 2, "the request is wrong; the message names what")                \
    X(ERR_UNAUTHORIZED, 401, "unauthorized", 4, "no key, or one that is not known")                          \
    X(ERR_FORBIDDEN, 403, "forbidden", 4, "the key does not allow this")                                     \
    X(ERR_NOT_FOUND, 404, "not_found", 3, "no such function or route")                                       \
    X(ERR_METHOD, 405, "method_not_allowed", 2, "the route exists, not with this method")                    \
    X(ERR_REQUEST_TIMEOUT, 408, "request_timeout", 6, "the request did not arrive whole in time")            \
    X(ERR_CONFLICT, 409, "conflict", 7, "the name is taken")                                                 \
    X(ERR_LENGTH_REQUIRED, 411, "length_required", 2, "a body without a length")                             \
    X(ERR_TOO_LARGE, 413, "too_large", 2, "the body is over its limit")                                      \
    X(ERR_URI_TOO_LONG, 414, "uri_too_long", 2, "the request line is over its limit")                        \
    X(ERR_EXPECTATION, 417, "expectation", 2, "an Expect that is not 100-continue")                          \
    X(ERR_COMPILE, 422, "compile", 1, "the source does not compile, or has no entry")                        \
    X(ERR_BUILD_TIMEOUT, 422, "timeout", 1, "the build ran out of time")                                     \
    X(ERR_BUILD_OOM, 422, "oom", 1, "the build ran out of memory")                                           \
    X(ERR_BUILD_OUTPUT, 422, "output", 1, "the build printed more than its limit")                           \
    X(ERR_LIMITED, 429, "limit", 8, "over a limit; try again later")                                         \
    X(ERR_HEADERS_TOO_LARGE, 431, "headers_too_large", 2, "the header block is over its limit")              \
    X(ERR_INTERNAL, 500, "internal", 1, "a fault of the platform")                                           \
    X(ERR_EXIT, 500, "exit", 5, "the function exited with a code that is not 0")                             \
    X(ERR_EXCEPTION, 500, "exception", 5, "the function threw")                                              \
    X(ERR_TRAP, 500, "trap", 5, "the function trapped: unreachable, out of bounds, stack overflow…")         \
    X(ERR_OUTPUT, 500, "output", 5, "the function printed more than its limit")                              \
    X(ERR_PROCESSES, 500, "processes", 5, "the function started more processes than its limit")              \
    X(ERR_NOT_INSTALLED, 501, "not_installed", 8, "a compiler or interpreter is missing on this machine")    \
    X(ERR_CRASH, 502, "crash", 5, "the function's process died")                                             \
    X(ERR_BAD_ANSWER, 502, "bad_answer", 5, "the function's answer made no sense")                           \
    X(ERR_UNAVAILABLE, 503, "unavailable", 8, "no worker was free in time")                                  \
    X(ERR_DRAINING, 503, "draining", 8, "the platform is shutting down")                                     \
    X(ERR_TIMEOUT, 504, "timeout", 6, "the function ran out of time")                                        \
    X(ERR_OOM, 507, "oom", 5, "the function ran out of memory")                                              \
    X(ERR_STORAGE_FULL, 507, "storage_full", 8, "no room left on the disk")                                  \
    X(ERR_IO, 500, "io", 1, "a system call failed; sys_errno says how")                                      \
    X(ERR_ARTEFACT, 500, "artefact", 1, "native code is damaged or from another engine: rebuild it")         \
    X(ERR_ABANDONED, 499, "abandoned", 1, "the client went away before the call was sent to a worker")       \
    X(ERR_CPU, 504, "cpu", 6, "the function used more CPU time than its limit")                              \
    X(ERR_SECRETS, 500, "secrets", 1, "the function's secrets cannot be opened: no key, or another one")

"""The probes, a row each: what a function tries, and how the platform answers. The functions are functions/<file>.<ext>;
their first lines say what they try. To add one: a file, and a row."""

from dataclasses import dataclass, field
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parent / "functions"
LANGUAGES = {"python": ".py", "js": ".js", "c": ".c", "cpp": ".cpp", "rust": ".rs", "wasm": ".py"}
PRELUDES = {"python": "_prelude.py", "js": "_prelude.js", "c": "_prelude.h"}
SHORT = {"timeout_ms": 700}
SMALL = {"memory_mb": 32, "timeout_ms": 10000}
HANDLER = {"timeout_ms": 3000}
CALL = {"isolation": "call", "timeout_ms": 3000}
BUILD = ("compile", "timeout", "oom", "output")


@dataclass(frozen=True)
class Probe:
    file: str
    status: object = 200  # of a call, or several; None: it must not come to a call
    cause: object = None  # of a call, or several
    build: tuple = ()  # causes with which a deploy may be refused (422)
    says: str = "end"  # in the output: it got so far
    params: dict = field(default_factory=dict)
    calls: int = 1
    seen: str = ""  # outside of a sandbox it reports an escape: "any" by anybody, "root" by root
    groups: bool = False  # control groups bound it, where there are some
    without: tuple = ()  # status and cause where there are none: what nothing could count is refused

    @property
    def lang(self):
        return self.file.partition("/")[0]

    @property
    def path(self):
        return FUNCTIONS / (self.file + LANGUAGES[self.lang])


def refused(file, *causes):
    """Must not come to a call: its deploy is 422."""
    return Probe(file, None, build=causes or ("compile",))


def builds(file, *causes):
    """Either its deploy is 422, or it does nothing."""
    return Probe(file, build=causes or BUILD, says="")


def late(file, says="ready", **more):
    return Probe(file, 504, "timeout", says=says, params=SHORT, **more)


def bomb(file, cause, status=500, says="begin", params=SMALL, **more):
    return Probe(file, status, cause, says=says, params=params, **more)


PROBES = [
    # --- Python: files and other functions
    Probe("python/read_host_files", seen="any"),
    Probe("python/read_other_code", seen="any"),
    Probe("python/symlinks", seen="any"),
    Probe("python/fd_hunt", seen="any"),
    Probe("python/proc_tricks", seen="any"),
    Probe("python/write_root"),
    Probe("python/spare_poison"),
    Probe("python/exec_tricks", seen="any"),
    Probe("python/devices", seen="root"),
    Probe("python/mount", seen="root"),
    # --- processes
    Probe("python/parent_environment", seen="any"),
    Probe("python/parent_memory", seen="any"),
    Probe("python/ptrace", seen="any"),
    Probe("python/kill_host", seen="any"),
    Probe("python/kill_own_init"),
    bomb("python/signal_suicide", "crash", 502),
    Probe("python/namespaces", seen="root"),
    Probe("python/setuid", seen="root"),
    Probe("python/keyctl", seen="any"),
    Probe("python/bpf", seen="root"),
    Probe("python/io_uring", seen="any"),
    Probe("python/privileged_calls", seen="root"),
    Probe("python/priorities", seen="root"),
    Probe("python/time_tricks", seen="root"),
    # --- network
    Probe("python/raw_sockets", seen="root"),
    Probe("python/udp", seen="any"),
    Probe("python/tcp_host", seen="any"),
    Probe("python/http_gateway"),
    Probe("python/unix_sockets", seen="any"),
    Probe("python/socket_families", seen="any"),
    Probe("python/network_interfaces", seen="any"),
    Probe("python/abstract_listen", params={"timeout_ms": 5000}),
    # --- bombs
    bomb("python/fork_bomb", "processes", params={"processes": 16}, groups=True, seen="any"),
    bomb("python/thread_bomb", "processes", params={"processes": 16}, groups=True, seen="any"),
    Probe("python/fork_tree", params={"processes": 16}, seen="any"),
    bomb("python/memory_bomb", "oom", 507, seen="any"),
    bomb("python/memory_shared_bomb", "oom", 507, groups=True, without=(500, "exit"), seen="any"),
    bomb("python/memory_memfd_bomb", "oom", 507, groups=True, without=(500, "exit"), seen="any"),
    bomb("python/memory_children_bomb", "oom", 507, groups=True, seen="any"),
    Probe("python/file_bomb", params={"tmp_mb": 8}, seen="any"),
    Probe("python/inode_bomb", params={"tmp_mb": 8}, seen="any"),
    Probe("python/descriptor_bomb"),
    Probe("python/pipe_bomb", (200, 507), (None, "oom"), says="begin", params=SMALL, seen="root"),
    bomb("python/endless_output", "output", params={"output_mb": 1}, seen="any"),
    Probe("python/endless_log"),
    bomb("python/deep_recursion", ("crash", "exit", "exception"), (500, 502)),
    bomb("python/exit_code", "exit"),
    bomb("python/crash", ("crash", "exception"), 502),
    # --- outliving
    late("python/ignore_signals"),
    late("python/double_fork", seen="any"),
    late("python/stop_itself"),
    late("python/atexit_hang"),
    late("python/cpu_time_bomb"),
    Probe("python/daemon_after_answer", seen="any"),
    # --- state
    Probe("python/state_left", calls=2, seen="any"),
    Probe("python/tmp_full", calls=2, params={"tmp_mb": 8}, seen="any"),
    Probe("python/shared_memory", calls=2, seen="any"),
    # --- answers and frames
    Probe("python/close_descriptors"),
    bomb("python/forge_frame", ("bad_answer", "crash"), 502, says="", params=HANDLER),
    bomb("python/garbage_frames", ("bad_answer", "crash"), 502, says="", params=HANDLER),
    bomb("python/huge_frame", ("bad_answer", "crash"), 502, says="", params=HANDLER),
    bomb("python/dup_tamper", ("bad_answer", "crash"), 502, says="", params=HANDLER),
    Probe("python/close_all", (200, 502), (None, "bad_answer", "crash"), says="", params=HANDLER, calls=3),
    Probe("python/page_garbage", (200, 502), (None, "bad_answer", "crash"), says="", params=HANDLER, calls=3),
    Probe("python/header_injection", params=HANDLER),
    Probe("python/trace_platform", (200, 500, 502), (None, "exception", "bad_answer", "crash"), says="", params=HANDLER, calls=2),
    Probe("python/isolation_parent", says="1", params=CALL, calls=2),
    # --- JavaScript
    Probe("js/read_host_files", seen="any"),
    Probe("js/parent_environment", seen="any"),
    Probe("js/fd_hunt", seen="any"),
    Probe("js/kill_host", seen="any"),
    Probe("js/network", seen="any"),
    Probe("js/http_gateway"),
    Probe("js/setuid", seen="root"),
    Probe("js/native_addon", seen="root"),
    Probe("js/inspector"),
    late("js/spawn_survivor", seen="any"),
    Probe("js/daemon_after_answer", seen="any"),
    Probe("js/fork_bomb", params={"processes": 16, "timeout_ms": 10000}, seen="any"),
    late("js/ignore_sigterm"),
    late("js/microtasks"),
    late("js/atomics_wait"),
    late("js/regex_bomb"),
    late("js/worker_threads"),
    bomb("js/heap_bomb", "oom", 507, params={"memory_mb": 64, "timeout_ms": 20000}, seen="any"),
    bomb("js/buffer_bomb", "oom", 507, params={"memory_mb": 64, "timeout_ms": 20000}, seen="any"),
    bomb("js/shared_buffer_bomb", "oom", 507, params={"memory_mb": 64, "timeout_ms": 20000}, seen="any"),
    bomb("js/deep_recursion", ("crash", "exit", "exception"), (500, 502)),
    bomb("js/endless_output", "output", params={"output_mb": 1}, seen="any"),
    bomb("js/exit_code", "exit"),
    Probe("js/heap_snapshot", params={"tmp_mb": 8, "timeout_ms": 60000}, seen="any"),
    Probe("js/state_left", calls=2, seen="any"),
    bomb("js/forge_frame", ("bad_answer", "crash"), 502, says="", params=HANDLER),
    Probe("js/close_all", (200, 502), (None, "bad_answer", "crash"), says="", params=HANDLER, calls=3),
    Probe("js/prototype_pollution", (200, 500, 502, 504), (None, "exception", "crash", "bad_answer", "exit", "timeout"), says="", params=SHORT, calls=2),
    bomb("js/answer_thenable", ("timeout", "exception"), (500, 504), says="", params=SHORT),
    # --- C on WASI
    Probe("c/read_host_files"),
    Probe("c/preopens"),
    Probe("c/environment"),
    Probe("c/sockets"),
    Probe("c/wild_arguments"),
    Probe("c/close_streams"),
    Probe("c/state_left", calls=2),
    Probe("c/endless_log"),
    bomb("c/deep_recursion", "trap"),
    bomb("c/endless_output", "output", params={"output_mb": 1}),
    bomb("c/memory_bomb", "oom", 507, params={"memory_mb": 16}),
    bomb("c/exit_code", "exit"),
    late("c/endless_loop"),
    late("c/sleep_past"),
    Probe("c/host_loop", 504, "timeout", says="ready", params={"timeout_ms": 700, "memory_mb": 80}),
    bomb("cpp/new_bomb", ("oom", "trap"), (500, 507), params={"memory_mb": 16}),
    Probe("rust/system_calls"),
    # --- compilers
    refused("c/include_secret"),
    refused("c/include_passwd"),
    refused("c/include_code"),
    builds("c/include_endless"),
    refused("c/include_itself", *BUILD),
    refused("c/include_stdin", *BUILD),
    refused("c/incbin", "compile"),
    refused("c/incbin_passwd", "compile"),
    refused("c/embed", "compile"),
    Probe("c/has_include"),
    refused("c/macro_bomb", "timeout", "oom"),
    refused("c/array_bomb", *BUILD),
    refused("c/asm_bomb", *BUILD),
    refused("c/message_bomb", "output", "compile"),
    Probe("c/linker_script", (200, 500), (None, "trap", "exit"), build=("compile",), says="begin"),
    refused("c/import_host"),
    refused("c/plugin"),
    refused("cpp/template_bomb", *BUILD),
    refused("cpp/constexpr_bomb", "compile", "timeout"),
    refused("rust/include_files"),
    refused("rust/path_module"),
    Probe("rust/build_environment"),
    refused("rust/proc_macro"),
    refused("rust/const_bomb", "compile", "timeout"),
    # --- raw WASM
    bomb("wasm/memory_minimum", "oom", 507, says="", params={"memory_mb": 16}),
    bomb("wasm/memory_grow", "oom", 507, says="", params={"memory_mb": 16}),
    Probe("wasm/table_huge", 507, "oom", build=("compile", "oom"), says=""),
    bomb("wasm/table_grow", "oom", 507, says=""),
    refused("wasm/tables_many"),
    builds("wasm/exports_many"),
    builds("wasm/functions_many"),
    late("wasm/start_loop", says=""),
    bomb("wasm/start_trap", "trap", says=""),
    bomb("wasm/start_recursion", "trap", says=""),
    Probe("wasm/data_outside", 500, "trap", build=("compile",), says=""),
    bomb("wasm/memory_edges", "trap", says=""),
    bomb("wasm/bulk_outside", "trap", says=""),
    bomb("wasm/call_indirect", "trap", says=""),
    builds("wasm/nested_blocks"),
    refused("wasm/locals_many"),
    builds("wasm/locals_50000"),
    builds("wasm/br_table"),
    builds("wasm/one_function_huge"),
    refused("wasm/bad_magic"),
    refused("wasm/native_code"),
    refused("wasm/bad_sections"),
    refused("wasm/truncated"),
    builds("wasm/custom_huge", "compile"),
    refused("wasm/import_unknown"),
    refused("wasm/import_memory"),
    refused("wasm/memory_missing"),
    refused("wasm/memory_shared"),
    refused("wasm/memory_64"),
    refused("wasm/start_types"),
    late("wasm/iov_storm", says=""),
    late("wasm/poll_storm", says=""),
    late("wasm/yield_loop", says=""),
    Probe("wasm/huge_instantiation", (200, 504), (None, "timeout"), build=BUILD, says="", params=SHORT),
]  # fmt: skip
# Where no namespace can be made a function has no process but its own, no /proc, and /tmp at another place: these end at their
# first step, by an exception.
ENDED_AT_ONCE = {
    "python/exec_tricks", "python/mount", "python/ptrace", "python/signal_suicide", "python/setuid", "python/double_fork", "python/stop_itself",
    "python/cpu_time_bomb", "python/memory_children_bomb", "python/state_left", "python/isolation_parent", "js/parent_environment", "js/fd_hunt", "js/spawn_survivor",
    "js/daemon_after_answer", "js/heap_snapshot", "js/state_left",
}  # fmt: skip
# Functions that tests of their own use (test_answers.py).
USED = ("python/answer_twice", "python/steal_payload", "python/status_tamper", "python/thread_after_answer", "python/payload_bomb",
        "js/late_answer", "js/response_injection")  # fmt: skip

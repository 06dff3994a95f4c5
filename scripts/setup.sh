#!/usr/bin/env bash
# Sets up what the build needs and this machine lacks: packages of Debian, the WASM engine (built from crates), the
# HTTP parser's sources, and Rust's standard library for WASM. With --tests also what the tests need. What is there
# already is left alone, so a second run does nothing. Everything that does not come from Debian goes to the user's
# cache (see paths.sh).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/paths.sh"
log=$cache_dir/set-up.log
tests=0
case ${1:-} in
--tests) tests=1 ;;
'') ;;
*) echo "usage: setup.sh [--tests]" >&2; exit 2 ;;
esac
did_something=0

say() { printf 'set-up: %s\n' "$*"; }
begin() { did_something=1; say "$@"; }
warn() { printf 'set-up: warning: %s\n' "$*" >&2; }
fail() { printf 'set-up: error: %s\n' "$*" >&2; exit 1; }

# Runs a command with its output in the log and shows how far it is: every second on a terminal, else every 20 s.
# Cargo's own count of crates is shown where there is one.
with_progress() {
    local label=$1 step=20 start=$SECONDS shown=0 count='' line status=0 every
    shift
    [ -t 1 ] && step=1
    every=$step
    : >"$log"
    # What is started here must not keep the lock (descriptor 9) when it leaves something running behind.
    { "$@" 2>&1 9>&- || echo "exit-status:$?"; } | stdbuf -oL tr '\r' '\n' | {
        while :; do
            if IFS= read -r -t "$every" line; then
                case $line in
                exit-status:*) status=${line#exit-status:} ;;
                *) printf '%s\n' "$line" >>"$log" ;;
                esac
                [[ $line =~ \ ([0-9]+/[0-9]+)(:|$) ]] && count=", ${BASH_REMATCH[1]} crates"
            elif [ $? -le 128 ]; then
                break
            fi
            if [ $((SECONDS - start - shown)) -ge $step ]; then
                shown=$((SECONDS - start))
                line=$(printf '%s: %d:%02d min%s' "$label" $((shown / 60)) $((shown % 60)) "$count")
                if [ -t 1 ]; then printf '\r%s\033[K' "$line"; else say "  $line"; fi
            fi
        done
        [ -t 1 ] && printf '\r\033[K'
        exit "$status"
    } && return
    status=$?
    tail -n 40 "$log" >&2
    warn "$label failed (the whole output is in $log)"
    return "$status"
}

# --- programs ---------------------------------------------------------------------------------------------------------
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# The Rust that can build the engine: prints the directory of rustc and cargo.
rust_find() {
    local rustc version
    for rustc in "$(command -v rustc || true)" /usr/bin/rustc; do
        [ -n "$rustc" ] && [ -x "${rustc%/*}/cargo" ] || continue
        version=$("$rustc" --version 2>/dev/null | cut -d ' ' -f 2) || continue
        at_least "${version:-0}" 1.95 && { echo "${rustc%/*}"; return 0; }
    done
    return 1
}

# A Rust whose standard library exists for WASM already.
rust_has_wasm() {
    local rustc=$1 target
    for target in wasm32-wasip1 wasm32-wasi; do
        [ -d "$("$rustc" --print target-libdir --target $target 2>/dev/null)" ] && return 0
    done
    return 1
}

python_find() {
    local python
    for python in /usr/bin/python3 python3; do
        "$python" -m "$1" --help >/dev/null 2>&1 && { echo "$python"; return 0; }
    done
    return 1
}

node_is_new_enough() {
    local version
    version=$(node --version 2>/dev/null) && at_least "${version#v}" 18
}

# --- packages ---------------------------------------------------------------------------------------------------------
has() { command -v "$1" >/dev/null; }
has_header() { echo "#include <$1>" | cc -E - >/dev/null 2>&1; }
has_library() { echo 'int main(void) { return 0; }' | cc -x c - "$1" -o /dev/null 2>/dev/null; }
# The compilers of C and C++ to WASM are asked for what the product will ask them for.
has_wasm_c() {
    echo '#include <stdio.h>
int main(void) { return puts("") < 0; }' | clang --target=wasm32-wasi -x c - -o "$scratch/c.wasm" 2>/dev/null
}
has_wasm_cxx() {
    echo '#include <string>
int main(int argc, char **argv) { return std::string(argv[0]).size() == (size_t)argc; }' |
        clang++ --target=wasm32-wasi -fno-exceptions -x c++ - -o "$scratch/cxx.wasm" 2>/dev/null
}
has_sanitizers() { echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return !d || n; }' |
    clang -fsanitize=fuzzer,address,undefined -x c - -o "$scratch/fuzzer" 2>/dev/null; }

engine_is_there() { [ -f "$engine_dir/worker/libfaas_engine.a" ] && [ -f "$engine_dir/compiler/libfaas_engine.a" ]; }

# What must be there, as "what it is for|packages of Debian (V: clang's version)" lines of what is missing.
missing_required() {
    { has cc && has gcc && has_header stdio.h; } || echo 'a C compiler|gcc libc6-dev'
    has make || echo 'make|make'
    has curl || echo 'curl|curl'
    has_header jansson.h || echo 'libjansson|libjansson-dev'
    has_header sodium.h || echo 'libsodium|libsodium-dev'
    [ -d /etc/ssl/certs ] || echo 'TLS certificates|ca-certificates'
    has_wasm_c || echo 'C to WASM|clang lld wasi-libc libclang-rt-V-dev-wasm32'
    has_wasm_cxx || echo 'C++ to WASM|libc++-V-dev-wasm32 libc++abi-V-dev-wasm32'
    [ -f "$llhttp_dir/llhttp.h" ] || python_find pip >/dev/null || echo 'pip, to fetch the HTTP parser|python3-pip'
    if ! engine_is_there; then
        has cmake || echo "cmake, for the WASM engine's headers|cmake"
        rust_find >/dev/null || echo 'Rust 1.95 or newer, to build the WASM engine|rustc-web cargo-web'
    fi
    [ $tests = 1 ] || return 0
    has_library -lcmocka || echo 'cmocka|libcmocka-dev'
    has clang-format || echo 'clang-format|clang-format'
    has_sanitizers || echo 'sanitizers and libFuzzer|libclang-rt-V-dev'
    [ -x "$venv_dir/bin/python" ] || python_find ensurepip >/dev/null || echo 'venv|python3-venv'
}
# What a machine may lack: functions in that language are then refused with a message.
missing_optional() {
    /usr/bin/python3 --version >/dev/null 2>&1 || has python3 || echo 'functions in Python|python3'
    node_is_new_enough || echo 'functions in JavaScript|nodejs'
}

is_debian() { has apt-get && grep -qsx 'ID=debian' /etc/os-release; }
as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}
clang_version() {
    if has clang; then
        clang -dumpversion | cut -d . -f 1
    else
        LC_ALL=C apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1
    fi
}
packages_of() { # lines of missing_* -> names of packages that are not installed
    local version name
    version=$(clang_version)
    for name in $(cut -d '|' -f 2 | sed "s/-V-/-${version:-14}-/g"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}
packages_install() {
    with_progress 'installing packages' as_root apt-get install -y -q --no-install-recommends --no-remove \
        -o Dpkg::Use-Pty=0 "$@"
}

setup_packages() {
    local required optional packages size
    required=$(missing_required)
    optional=$(missing_optional)
    [ -n "$required$optional" ] || return 0
    if ! is_debian; then
        [ -z "$optional" ] || warn "missing, and optional:"$'\n'"$(sed 's/^/  /; s/|/ (on Debian: /; s/$/)/' <<<"$optional")"
        [ -z "$required" ] || fail "this is not Debian, so please install what is missing and start again:"$'\n'"$(
            sed 's/^/  /; s/|/ (on Debian: /; s/$/)/; s/-V-/-14-/g' <<<"$required")"
        return 0
    fi
    [ "$(id -u)" = 0 ] || has sudo || fail "packages are missing and there is no sudo. As root:" \
        "apt-get install $(packages_of <<<"$required" | xargs)"
    begin "missing:"
    printf '%s\n' "$required" "$optional" | sed '/^$/d; s/|.*//; s/^/  /'
    say 'reading the lists of packages (apt-get update, some 10 seconds)'
    with_progress 'apt-get update' as_root apt-get update -q || warn 'going on with the lists as they are'
    packages=$(packages_of <<<"$required" | xargs)
    if [ -n "$packages" ]; then
        size=$(LC_ALL=C apt-get install --assume-no --no-install-recommends $packages 2>/dev/null |
            sed -n 's/^Need to get \(.*\) of archives.*/\1/p' || true)
        say "installing with apt-get (${size:-some 100 MB} to fetch, up to 3 minutes): $packages"
        packages_install $packages || fail "apt-get could not install: $packages"
        required=$(missing_required | cut -d '|' -f 1 | paste -sd ,)
        [ -z "$required" ] || fail "still missing after the packages were installed: $required"
    fi
    for packages in $(packages_of <<<"$optional"); do
        say "installing with apt-get (half a minute): $packages"
        packages_install "$packages" || warn "$packages could not be installed; going on without"
    done
}

# --- the HTTP parser ---------------------------------------------------------------------------------------------------
setup_llhttp() {
    local archive=httptools-$httptools_version.tar.gz fetch=$scratch/llhttp unpacked version
    [ ! -f "$llhttp_dir/llhttp.h" ] || return 0
    begin "fetching the sources of llhttp $llhttp_version, inside httptools $httptools_version, with pip (10 seconds)"
    mkdir -p "$fetch"
    with_progress 'pip download' "$(python_find pip)" -m pip download --disable-pip-version-check -q --no-deps \
        --no-binary httptools --dest "$fetch" "httptools==$httptools_version" || fail 'llhttp could not be fetched'
    echo "$httptools_sha256  $fetch/$archive" | sha256sum --check --status ||
        fail "$archive is not the file that was pinned: its SHA-256 is $(sha256sum <"$fetch/$archive" | cut -d ' ' -f 1)"
    say "  $archive has the SHA-256 that is pinned, $httptools_sha256"
    tar -xzf "$fetch/$archive" -C "$fetch"
    unpacked=$fetch/${archive%.tar.gz}/vendor/llhttp
    version=$(sed -n 's/^#define LLHTTP_VERSION_[MP][A-Z]* \([0-9]*\)$/\1/p' "$unpacked/include/llhttp.h" | paste -sd .)
    [ "$version" = "$llhttp_version" ] || fail "$archive carries llhttp $version instead of $llhttp_version"
    mkdir "$fetch/new"
    cp "$unpacked"/src/{api,http,llhttp}.c "$unpacked/include/llhttp.h" "$unpacked"/LICENSE* "$fetch/new/"
    rm -rf "$llhttp_dir"
    mv -T "$fetch/new" "$llhttp_dir"
}

# --- the WASM engine ---------------------------------------------------------------------------------------------------
engine_build() { # name, profile, features
    local name=$1 profile=$2 conf headers
    shift 2
    with_progress "building the WASM engine ($name)" env PATH="$rust_bin:$PATH" CARGO_TERM_PROGRESS_WHEN=always \
        CARGO_TERM_PROGRESS_WIDTH=80 "$rust_bin/cargo" build --profile "$profile" --locked \
        --manifest-path "$root/engine/Cargo.toml" --target-dir "$scratch/target" "$@" ||
        fail 'the WASM engine could not be built'
    mkdir -p "$scratch/engine/$name"
    cp "$scratch/target/$profile/libfaas_engine.a" "$scratch/engine/$name/"
    # Each build of the C API has headers that say what is in it.
    for conf in "$scratch/target/$profile"/build/wasmtime-c-api-impl-*/out/include/wasmtime/conf.h; do
        if grep -q '^#define WASMTIME_FEATURE_CRANELIFT' "$conf"; then headers=compiler; else headers=worker; fi
        [ "$headers" != "$name" ] || cp -r "${conf%/wasmtime/conf.h}" "$scratch/engine/$name/"
    done
    [ -f "$scratch/engine/$name/include/wasmtime.h" ] || fail "the engine's headers ($name) were not made"
}

setup_engine() {
    engine_is_there && return 0
    rust_bin=$(rust_find) || fail 'no Rust 1.95 or newer was found'
    begin "building the WASM engine, Wasmtime $engine_version, from its sources with $("$rust_bin/rustc" --version |
        cut -d ' ' -f 1,2): about 6 minutes on two cores, 12 on slow or busy ones, once for this user (kept in $cache_dir)"
    engine_build worker worker
    engine_build compiler release --features compiler
    rm -rf "$engine_dir" "$scratch/target"
    mv -T "$scratch/engine" "$engine_dir"
}

# --- Rust's standard library for WASM ----------------------------------------------------------------------------------
rust_wasm_try() { # directory of the unpacked packages
    local library
    library=$(compgen -G "$1/usr/lib/*-linux-gnu" | head -n 1)
    echo 'fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); println!("{s}"); }' \
        >"$scratch/hello.rs"
    LD_LIBRARY_PATH=$library "$1/usr/bin/rustc" --sysroot "$1/usr" --target wasm32-wasi -O -C strip=symbols \
        -C linker=clang -C linker-flavor=gcc -C link-arg=--target=wasm32-wasi -C link-self-contained=no \
        -o "$scratch/hello.wasm" "$scratch/hello.rs" && [ "$(head -c 4 "$scratch/hello.wasm" | tail -c 3)" = asm ]
}

rust_wasm_fetch() { # directory to fetch to and unpack in
    local archive packages='rustc libstd-rust-1.63 libstd-rust-dev libstd-rust-dev-wasm32'
    compgen -G '/usr/lib/*/libLLVM-14.so.1' >/dev/null || packages+=' libllvm14'
    cd "$1" && apt-get download -q $packages || return
    for archive in *.deb; do dpkg -x "$archive" new || return; done
}

setup_rust_wasm() {
    local rustc
    [ ! -x "$rust_dir/usr/bin/rustc" ] || return 0
    rustc=$(command -v rustc || true)
    if [ -n "$rustc" ] && rust_has_wasm "$rustc"; then return 0; fi
    if ! is_debian || ! apt-cache show libstd-rust-1.63 >/dev/null 2>&1; then
        [ -z "$rustc" ] || say 'for functions in Rust, add the target: rustup target add wasm32-wasip1'
        return 0
    fi
    begin "fetching Debian's Rust with its WASM standard library, for functions in Rust (110 MB, half a minute)"
    mkdir -p "$scratch/rust"
    if with_progress 'fetching Rust for WASM' rust_wasm_fetch "$scratch/rust" && rust_wasm_try "$scratch/rust/new"; then
        rm -rf "$rust_dir"
        mv -T "$scratch/rust/new" "$rust_dir"
        say "  it is $rust_dir/usr/bin/rustc, and it compiles"
    else
        warn 'Rust for WASM could not be set up; going on without'
    fi
}

# --- Python packages of the tests --------------------------------------------------------------------------------------
setup_venv() {
    [ $tests = 1 ] && [ ! -x "$venv_dir/bin/pytest" ] || return 0
    begin 'fetching the Python packages of the tests with pip (half a minute)'
    # A venv holds its own path, so it is made where it stays; pytest is in it last, and stands for all.
    rm -rf "$venv_dir"
    with_progress 'making a venv' "$(python_find ensurepip)" -m venv "$venv_dir" || fail 'no venv could be made'
    with_progress 'pip install' "$venv_dir/bin/python" -m pip install --disable-pip-version-check -q --require-hashes \
        --only-binary :all: -r "$root/tests/requirements.txt" ||
        { rm -rf "$venv_dir"; fail "the tests' Python packages could not be installed"; }
}

mkdir -p "$cache_dir"
exec 9>>"$cache_dir/set-up.lock"
if ! flock -n 9; then
    say 'another set-up of this user is running: waiting for it'
    flock 9
fi
# Beside what it will become, so that renaming it into place is one step; a killed set-up's rest is swept here.
rm -rf "$cache_dir"/.set-up.*
scratch=$(mktemp -d "$cache_dir/.set-up.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

setup_packages
setup_llhttp
setup_rust_wasm
setup_engine
setup_venv
[ $did_something = 0 ] || say "done in $((SECONDS / 60)):$(printf %02d $((SECONDS % 60))) min"

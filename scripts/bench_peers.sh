#!/usr/bin/env bash
# Fetches and builds what `make bench` compares with, at pinned versions, into the per-user cache; what is there already
# stays. usage: bench_peers.sh [NAME]...  (nginx wrk uvicorn workerd deno of-watchdog wasmtime; all without a name).
# wasmtime is built from its sources, which takes 20 minutes on two cores; the rest takes about two.
# One that cannot be had is left out, with a message, and so is its row.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/paths.sh"

uvicorn_version=0.54.0 uvloop_version=0.23.0 httptools_version=0.9.0
workerd_version=1.20261117.1
deno_version=2.9.6
# of-watchdog 0.11.6, by its commit: its tags are none that Go takes for a version.
of_watchdog_commit=9bdadb1e8c68ae1016ac1a35906cd2acaa53169a
wasmtime_version=$engine_version
jobs=${BENCH_JOBS:-$(nproc)}

say() { printf 'bench_peers: %s\n' "$*"; }
has() { command -v "$1" >/dev/null; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Builds into a directory beside, and moves it into place as a whole. $1 name, $2 version, $3.. what fills directory $new.
set_up() {
    local name=$1 version=$2 place=$bench_dir/$1 new=$bench_dir/.new-$1
    shift 2
    if [ "$(cat "$place/version" 2>/dev/null)" = "$version" ]; then
        say "$name $version is there"
        return
    fi
    say "setting up $name $version"
    rm -rf "$new"
    mkdir -p "$new"
    if (cd "$new" && "$@" "$new") >"$bench_dir/$name.log" 2>&1; then
        echo "$version" >"$new/version"
        rm -rf "$place"
        mv -T "$new" "$place"
    else
        rm -rf "$new"
        tail -n 5 "$bench_dir/$name.log" >&2
        say "$name could not be set up and is left out (all of its output: $bench_dir/$name.log)"
    fi
}

from_debian() { # program, package
    if has "$1" || [ -x "/usr/sbin/$1" ]; then
        say "$1 is there"
    elif has apt-get; then
        say "installing $2"
        as_root apt-get install -y -q --no-install-recommends "$2" || say "$2 could not be installed"
    else
        say "$1 is missing; please install it"
    fi
}

# A venv holds its own path, so its packages go to a plain directory; the interpreter that they are for stands beside.
fetch_uvicorn() {
    local python
    for python in /usr/bin/python3 python3; do "$python" -m pip --version >/dev/null 2>&1 && break; done
    echo "$python" >"$1/python"
    "$python" -m pip install --disable-pip-version-check -q --only-binary :all: --target "$1/packages" \
        uvicorn==$uvicorn_version uvloop==$uvloop_version httptools==$httptools_version
}
fetch_from_npm() { # package, version, directory
    npm install --prefix "$3" --no-audit --no-fund --no-save --loglevel=error "$1@$2"
}
fetch_workerd() { fetch_from_npm workerd $workerd_version "$1" && "$1/node_modules/.bin/workerd" --version; }
fetch_deno() { fetch_from_npm deno $deno_version "$1" && "$1/node_modules/.bin/deno" --version; }
fetch_of_watchdog() {
    GOBIN=$1 GOFLAGS=-trimpath go install "github.com/openfaas/of-watchdog@$of_watchdog_commit"
}
# The smallest set of features that serves HTTP, and the function for it. What was compiled stays until all is done, so
# that a build that was stopped goes on where it was.
fetch_wasmtime() {
    local target=$bench_dir/build-wasmtime
    cargo install --quiet --root "$1" --target-dir "$target" --jobs "$jobs" --locked --no-default-features \
        --features run,serve,component-model-async,compile,parallel-compilation,pooling-allocator \
        "wasmtime-cli@$wasmtime_version" &&
        cp -r "$root/tests/bench/functions/hello_http" "$1/source" &&
        cargo build --quiet --release --locked --jobs "$jobs" --target wasm32-wasip2 --target-dir "$target" \
            --manifest-path "$1/source/Cargo.toml" &&
        cp "$target/wasm32-wasip2/release/hello_http.wasm" "$1/hello_http.wasm" &&
        "$1/bin/wasmtime" --version && rm -rf "$target" "$1/source"
}

mkdir -p "$bench_dir"
exec 9>>"$bench_dir/lock"
flock 9
[ $# -gt 0 ] || set -- nginx wrk uvicorn workerd deno of-watchdog wasmtime
for name in "$@"; do
    case $name in
    nginx) from_debian nginx nginx-light ;;
    wrk) from_debian wrk wrk ;;
    uvicorn) set_up uvicorn $uvicorn_version fetch_uvicorn ;;
    workerd) set_up workerd $workerd_version fetch_workerd ;;
    deno) set_up deno $deno_version fetch_deno ;;
    of-watchdog) set_up of-watchdog 0.11.6 fetch_of_watchdog ;;
    wasmtime) set_up wasmtime "$wasmtime_version" fetch_wasmtime ;;
    *)
        say "no such peer: $name (nginx wrk uvicorn workerd deno of-watchdog wasmtime)" >&2
        exit 2
        ;;
    esac
done

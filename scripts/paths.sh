# Where scripts/setup.sh puts what it builds, outside of the checkout: neither a clean checkout nor `make clean`
# builds it again. Sourced by the scripts and by the Makefile, with the project's directory in $root.
cache_dir=${XDG_CACHE_HOME:-$HOME/.cache}/minifaas

# The WASM engine, by its version and what it is built from: {worker,compiler}/{libfaas_engine.a,include/}.
engine_version=$(sed -n 's/^wasmtime-c-api-impl = .*"=\([0-9.]*\)".*/\1/p' "$root/engine/Cargo.toml")
engine_key=$(cd "$root/engine" && cat Cargo.toml Cargo.lock src/lib.rs | sha256sum | cut -c 1-12)
engine_dir=$cache_dir/engine-$engine_version-$engine_key

# Node's HTTP parser: llhttp.h and its three C files, from the source archive of the Python package httptools.
httptools_version=0.7.1
httptools_sha256=abd72556974f8e7c74a259655924a717a2365b236c882c3f6f8a45fe94703ac9
llhttp_version=9.3.0
llhttp_dir=$cache_dir/llhttp-$llhttp_version

# Debian's rustc with its WASM standard library, where no other has one: usr/bin/rustc.
rust_dir=$cache_dir/rust-wasm

# Python packages of the tests, by what tests/requirements.txt asks for: bin/python.
venv_dir=$cache_dir/tests-$(sha256sum <"$root/tests/requirements.txt" | cut -c 1-12)

# Other people's servers that `make bench` compares with, each in a directory of its own: scripts/bench_peers.sh.
bench_dir=$cache_dir/bench-peers

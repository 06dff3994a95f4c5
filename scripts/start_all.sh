#!/usr/bin/env bash
# Starts the whole system in the foreground: start_all.sh [RR|FIFO|WEIGHTED]. Sets up and builds first what is not
# there yet. Ctrl+C or SIGTERM stops all of it. Settings are variables FAAS_… (see `build/bin/minifaas up --help`);
# further arguments are handed to `minifaas up`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minifaas=$root/build/bin/minifaas
stamp=$root/build/started
case ${1:-} in
'' | -*) ;;
[Rr][Rr] | [Ff][Ii][Ff][Oo] | [Ww][Ee][Ii][Gg][Hh][Tt][Ee][Dd]) set -- --strategy "$@" ;;
*)
    echo "start_all.sh: unknown strategy '$1': RR, FIFO and WEIGHTED are known" >&2
    exit 2
    ;;
esac

# Nothing that the build comes from may be newer than the last build that this script saw end well.
is_built() {
    [ -x "$minifaas" ] && [ -f "$stamp" ] && [ -z "$(cd "$root" && find Makefile engine scripts src runtimes \
        -name __pycache__ -prune -o -newer build/started -print -quit)" ]
}

if ! is_built; then
    mkdir -p "$root/build"
    (
        flock 9 # two starts at once build once
        is_built && exit
        began=$(date +%s)
        "$root/scripts/setup.sh" 9>&-
        make -C "$root" -j "$(nproc)" --no-print-directory 9>&-
        touch -d "@$began" "$stamp"
    ) 9>>"$root/build/start.lock"
fi
exec "$minifaas" up "$@"

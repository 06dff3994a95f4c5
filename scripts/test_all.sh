#!/usr/bin/env bash
# Sets up what the tests need, then runs every check and test. Ends non-zero when one failed; the last line counts the
# stages. About 13 minutes; on a machine that has nothing yet, set-up comes before it and says how long it takes.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit
"$root/scripts/setup.sh" --tests || exit
. "$root/scripts/paths.sh"

jobs=$(nproc)
passed=0
failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

stage() { # name, command
    local name=$1 start=$SECONDS verdict=ok
    shift
    printf '\n=== %s\n' "$name"
    if "$@"; then passed=$((passed + 1)); else verdict=FAILED failed=$((failed + 1)); fi
    printf '=== %s: %s, %d s\n' "$name" "$verdict" $((SECONDS - start))
}
quiet_make() { make -j "$jobs" --no-print-directory "$@"; }
e2e() { # directory of the executables, more arguments of pytest
    local bin=$1 run
    shift
    run=(env MINIFAAS_BIN="$root/$bin" PYTHONDONTWRITEBYTECODE=1 "$venv_dir/bin/pytest" -q
        -o cache_dir="$scratch/pytest-${bin//\//-}" tests/e2e "$@")
    "${run[@]}" -n 3 --dist loadgroup && return
    # Three at a time fill a small machine, and some tests are about time: what failed gets one more try, alone.
    echo 'again, alone:'
    "${run[@]}" -p no:xdist --last-failed --last-failed-no-failures none
}
faults() { # about two minutes; FAULTS_SWEEP=1 tries every call, which takes an hour
    MINIFAAS_BIN="$root/build/bin" PYTHONDONTWRITEBYTECODE=1 "$venv_dir/bin/pytest" -q -o cache_dir="$scratch/pytest-faults" \
        -n 2 --dist loadgroup -rs tests/faults
}
hostile() { # about three minutes
    MINIFAAS_BIN="$root/build/bin" PYTHONDONTWRITEBYTECODE=1 "$venv_dir/bin/pytest" -q -o cache_dir="$scratch/pytest-hostile" \
        -n 2 --dist loadgroup -rs tests/hostile
}
fuzz() { # 5 seconds a target, from a copy of the stored corpus
    local program target status=0
    for program in build/fuzz/fuzz_*; do
        [ -f "$program" ] && [ -x "$program" ] || continue
        target=${program##*/fuzz_}
        mkdir -p "$scratch/$target"
        cp "tests/fuzz/corpus/$target"/* "$scratch/$target/" 2>/dev/null
        "$program" -max_total_time=5 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
            -artifact_prefix="$root/build/fuzz/" "$scratch/$target" >"$scratch/$target.log" 2>&1
        if [ $? = 0 ]; then
            echo "$target: $(sed -n 's/^stat::number_of_executed_units: */runs: /p' "$scratch/$target.log")"
        else
            status=1
            tail -n 40 "$scratch/$target.log"
        fi
    done
    return $status
}

stage 'includes go one way' python3 tests/check_includes.py
stage 'format' make --no-print-directory format-check
stage 'build' quiet_make all benches
stage 'no warnings: gcc' quiet_make BUILD=build/gcc CC=gcc WERROR=1 all tests
stage 'no warnings: clang' quiet_make BUILD=build/clang CC=clang WERROR=1 all tests
stage 'unit tests' quiet_make test-unit
stage 'end to end' e2e build/bin
stage 'faults' faults
stage 'hostile functions' hostile
stage 'sanitizers: build' quiet_make sanitize
stage 'sanitizers: unit tests' make --no-print-directory MODE=asan test-unit
# What watches a clock or a rate for long, or is about the functions and their compilers more than about our own code,
# finds nothing more in the slower build.
stage 'sanitizers: end to end' e2e build/asan/bin $(printf -- '--ignore=tests/e2e/test_%s.py ' \
    scaling bench examples isolation limits state)
stage 'fuzz: build' quiet_make fuzz
stage 'fuzz' fuzz

printf '\n%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]

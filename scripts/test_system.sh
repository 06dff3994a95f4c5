#!/bin/bash
# Smoke test of a running system, with curl: deploys C, JavaScript and Python, invokes, describes, tries a name that is
# taken, and removes what it made. The system is that of FAAS_URL, else of FAAS_LISTEN, else port 8080 of this machine.
# Exit code 0 when every check passed.
set -uo pipefail

url=${FAAS_URL:-${FAAS_LISTEN:-127.0.0.1:8080}}
url=${url%/}
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")/../examples" && pwd)
suffix=smoke-$$
answer=$(mktemp)
made=()
checks=0 failed=0

tidy() {
    for name in ${made[@]+"${made[@]}"}; do
        curl -sS -o /dev/null -X DELETE "$url/function/$name" || true
    done
    rm -f "$answer"
}
trap tidy EXIT
trap 'exit 130' INT TERM

# check WHAT STATUS PATTERN CURL-ARGUMENTS…: one request; its status must be STATUS, and its body match
# PATTERN when there is one.
check() {
    local what=$1 want=$2 pattern=$3 status
    shift 3
    checks=$((checks + 1))
    status=$(curl -sS --max-time 60 -o "$answer" -w '%{http_code}' "$@" 2>&1)
    if [ "$status" = "$want" ] && { [ -z "$pattern" ] || grep -Eq -- "$pattern" "$answer"; }; then
        printf 'ok      %s\n' "$what"
        return 0
    fi
    failed=$((failed + 1))
    printf 'FAILED  %s: expected %s %s, got %s\n' "$what" "$want" "$pattern" "$status"
    head -c 1000 "$answer" | sed 's/^/        /'
    echo
    return 1
}

# language TITLE LANG SOURCE PAYLOAD OUTPUT: one function from its deploy to its removal.
language() {
    local title=$1 lang=$2 source=$3 payload=$4 output=$5
    local name=$lang-$suffix
    made+=("$name")
    check "deploy $title" 201 "\"ok\":true.*\"name\":\"$name\"" \
        -X POST "$url/deploy?name=$name&lang=$lang" --data-binary "@$examples/$source" || return
    check "invoke $title" 200 "\"ok\":true,\"output\":\"$output" \
        -X POST "$url/invoke?fn=$name" --data-binary "$payload"
    check "describe $title" 200 "\"name\":\"$name\".*\"code\":\"" "$url/function/$name"
    check "call $title as an HTTP endpoint" 200 . "$url/fn/$name/"
    check "refuse a second function of that name" 409 "\"error\":\"function '$name' already exists\"" \
        -X POST "$url/deploy?name=$name&lang=$lang" --data-binary "@$examples/$source"
    check "remove $title" 204 '' -X DELETE "$url/function/$name"
    check "find it gone" 404 '"cause":"not_found"' -X POST "$url/invoke?fn=$name"
}

if ! curl -sS -f -o /dev/null --max-time 10 "$url/healthz"; then
    echo "no system answers at $url (start one with scripts/start_all.sh, or set FAAS_URL)"
    exit 1
fi
echo "Mini FaaS at $url"
check "be ready" 200 '' "$url/readyz"
language C c c/hello.c '' 'Hello from FAAS!\\n'
language JavaScript js js/hello.js '' 'Hello from JavaScript!\\n'
language Python python python/hello.py '{"name":"Ada"}' '.*Hello from Ada!'
check "refuse a source that does not compile" 422 '"cause":"compile"' \
    -X POST "$url/deploy?name=broken-$suffix&lang=c" --data-binary 'int main(void) { return x; }'
check "list the functions" 200 '"functions":\[' "$url/functions"
check "list the workers" 200 '"workers":\[' "$url/workers"
check "show the metrics" 200 '^# TYPE faas_calls_total counter' "$url/metrics"
echo "$checks checks, $failed failed"
[ "$failed" = 0 ]

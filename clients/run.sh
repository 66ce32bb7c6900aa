#!/bin/sh
# Runs the OpenAI clients' tests, Python and Node, against a server of this checkout.
#
#   clients/run.sh [ORRERY [SERVE-ARGUMENT…]]
#
# ORRERY is the built binary; without it, a release build is made. What follows goes to `orrery serve`. Packages come from
# PyPI and npm, in pinned versions, into $ORRERY_CLIENTS_DIR (default: a folder that is removed at the end).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=

finish() {
    status=$?
    trap - EXIT
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then kill -KILL "$server"; fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "clients: $*" >&2; }

# Installs Debian packages, where that is possible.
need() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $*"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } \
            >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; say "could not install $*"; exit 1; }
    else
        say "these packages are missing: $*; install them (on Debian: apt-get install $*) and run this again"
        exit 1
    fi
}

if [ $# -gt 0 ]; then
    orrery=$1
    shift
else
    (cd "$here/.." && cargo build --release)
    target=$(cd "$here/.." && cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    orrery=$target/release/orrery
fi
[ -x "$orrery" ] || { say "$orrery is no program"; exit 1; }

command -v python3 >/dev/null || need python3 python3-venv
command -v node >/dev/null || need nodejs npm
command -v npm >/dev/null || need npm
packages=${ORRERY_CLIENTS_DIR:-$work/packages}
mkdir -p "$packages"
if [ ! -x "$packages/venv/bin/pip" ]; then
    python3 -c 'import ensurepip' 2>/dev/null || need python3-venv
    python3 -m venv "$packages/venv"
fi
"$packages/venv/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt"
# npm installs beside package.json; a copy keeps the checkout clean.
mkdir -p "$packages/node"
cp "$here"/node/*.js "$here"/node/package.json "$here"/node/package-lock.json "$packages/node/"
(cd "$packages/node" && npm ci --silent --no-audit --no-fund)

"$orrery" serve --listen 127.0.0.1:0 "$@" >"$work/server.log" 2>&1 &
server=$!

# Waits for a shell condition while the server lives.
await() {
    what=$1
    seconds=$2
    shift 2
    tries=$((seconds * 10))
    until "$@"; do
        kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; say "the server ended before it was $what"; exit 1; }
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { cat "$work/server.log" >&2; say "the server was not $what within $seconds s"; exit 1; }
        sleep 0.1
    done
}
address() { sed -n 's|.*listening on \(http://[0-9.:]*[0-9]\).*|\1|p' "$work/server.log" | head -n 1; }
has_address() { [ -n "$(address)" ]; }
is_ready() {
    python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$(address)/ready" 2>/dev/null
}

await listening 60 has_address
await ready 600 is_ready
ORRERY_BASE_URL=$(address)
ORRERY_API_KEY=$("$orrery" key show "$@")
export ORRERY_BASE_URL ORRERY_API_KEY
say "the server is ready at $ORRERY_BASE_URL"

failed=0
(cd "$here/python" && PYTHONDONTWRITEBYTECODE=1 "$packages/venv/bin/python" -m unittest -v) >"$work/python.log" 2>&1 || failed=1
(cd "$packages/node" && node --test --test-reporter=tap) >"$work/node.log" 2>&1 || failed=1

kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
[ "$code" = 0 ] || { cat "$work/server.log" >&2; say "the server ended with $code after SIGTERM"; failed=1; }

cat "$work/python.log" "$work/node.log"
# Last come the runners' own summaries.
printf '\nPython:\n'
tail -n 4 "$work/python.log"
printf 'Node:\n'
grep -E '^# (tests|pass|fail|cancelled|skipped|duration_ms)' "$work/node.log" || true
exit "$failed"

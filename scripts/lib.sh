# Helpers that every script here shares. Sourced, never run; it works with the bash 3.2 of macOS.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The cargo target folder. Everything else that the scripts make goes below ./target, wherever this is.
cargo_target=${CARGO_TARGET_DIR:-$root/target}
case $cargo_target in /*) ;; *) cargo_target=$root/$cargo_target ;; esac
engine_bin=$root/target/engine/bin
# scripts/example.sh installs here what the programs of each language need.
languages_cache=$root/target/languages

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\033[1m' dim=$'\033[2m' red=$'\033[31m' green=$'\033[32m' cyan=$'\033[36m' plain=$'\033[0m'
else
    bold='' dim='' red='' green='' cyan='' plain=''
fi

# step TEXT: the heading of what happens next.
step() { printf '%s==> %s%s\n' "$bold$cyan" "$*" "$plain"; }

# note TEXT: one quieter line below a step.
note() { printf '%s    %s%s\n' "$dim" "$*" "$plain"; }

# good TEXT: something that was checked and holds.
good() { printf '%s    ✓ %s%s\n' "$green" "$*" "$plain"; }

# die TEXT: ends the script with one line on stderr.
die() {
    printf '%serror:%s %s\n' "$red$bold" "$plain" "$*" >&2
    exit 1
}

# run COMMAND...: prints the command line as it could be typed, then runs it.
run() {
    printf '%s    $ %s%s\n' "$dim" "$*" "$plain"
    "$@"
}

# found_version PROGRAM: the first dotted number in what the program prints about its version.
found_version() {
    case $1 in
    go) go version ;;
    java | javac) "$1" -version ;;
    *) "$1" --version ;;
    esac 2>&1 </dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1
}

# at_least VERSION MINIMUM: whether a dotted version is the minimum or newer.
at_least() {
    local IFS=. i have least
    # Split on the dots on purpose.
    # shellcheck disable=SC2206
    have=($1) least=($2)
    for i in 0 1 2; do
        if [ "${have[i]:-0}" -gt "${least[i]:-0}" ]; then return 0; fi
        if [ "${have[i]:-0}" -lt "${least[i]:-0}" ]; then return 1; fi
    done
}

# need PROGRAM HINT [MINIMUM]: fails with one line when the program is missing or older than the minimum.
need() {
    local program=$1 hint=$2 minimum=${3:-} version
    command -v "$program" >/dev/null 2>&1 || die "$program is not on PATH${minimum:+ (version $minimum or newer is needed)}: $hint"
    [ -n "$minimum" ] || return 0
    version=$(found_version "$program")
    [ -n "$version" ] || die "$program --version names no version ($minimum or newer is needed): $hint"
    at_least "$version" "$minimum" || die "$program is version $version, and $minimum or newer is needed: $hint"
}

need_rust() { need cargo "install Rust with rustup (https://rustup.rs)" 1.88; }
need_go() { need go "install Go (https://go.dev/dl)" 1.25; }
need_python() { need python3 "install Python 3 with its venv module (https://www.python.org)" 3.10; }
need_node() { need node "install Node.js (https://nodejs.org)" 20 && need npm "install npm, which comes with Node.js" 10; }
need_java() { need javac "install a JDK" 17 && need mvn "install Maven (https://maven.apache.org)" 3.8; }

# need_language LANGUAGE: fails when something is missing that the examples in that language need.
need_language() {
    case $1 in
    yaml) ;;
    python) need_python ;;
    typescript) need_node ;;
    go) need_go ;;
    java) need_java ;;
    *) die "there is no example to run with LANGUAGE=$1: use yaml, python, typescript, go or java" ;;
    esac
}

# slowly TEXT HINT COMMAND...: runs a command whose output matters only when it fails, and says every 15 s that it is
# still at work. HINT says how long that usually takes.
slowly() {
    local text=$1 hint=$2 log started=$SECONDS code=0 watcher
    shift 2
    log=$(mktemp)
    note "$text: $hint"
    # It is the watcher that runs in the background, so that Ctrl-C reaches the command. It checks every second whether
    # it is still needed, because nobody stops it after a Ctrl-C. It must not hold file 9, the lock (see below).
    (
        while sleep 1 && kill -0 $$; do
            if [ $(((SECONDS - started) % 15)) -eq 0 ]; then note "$text: $((SECONDS - started)) s …; $hint"; fi
        done
    ) 2>/dev/null 9>&- &
    watcher=$!
    "$@" >"$log" 2>&1 </dev/null || code=$?
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    if [ "$code" -ne 0 ]; then
        cat "$log" >&2
        rm -f "$log"
        die "$text failed (exit status $code); its output is above"
    fi
    rm -f "$log"
}

# lock NAME: holds target/NAME.lock until the script ends, so that two runs never build the same thing at once.
lock() {
    mkdir -p "$root/target"
    # macOS has no flock. There two runs at once may do the work twice, and the last one wins.
    command -v flock >/dev/null 2>&1 || return 0
    exec 9>"$root/target/$1.lock"
    flock -n 9 && return 0
    note "waiting for another run that makes the same thing ($1)"
    flock 9
}

# fresh STAMP FILE...: whether the stamp was made from exactly these files. `stamp` makes it.
# The stamp is a copy of them all: nothing to compute, and nothing that can collide.
fresh() {
    local made=$1
    shift
    [ -f "$made" ] && cat "$@" | cmp -s - "$made"
}
stamp() {
    local made=$1
    shift
    mkdir -p "$(dirname "$made")"
    cat "$@" >"$made.new" && mv "$made.new" "$made"
}

# sums FILE...: the SHA-256 of files, as `sha256sum -c` reads them. macOS has another program for it.
sums() { if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

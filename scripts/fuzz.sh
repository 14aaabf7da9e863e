#!/usr/bin/env bash
# Fuzzes with libFuzzer, on stable Rust and with nothing to install but a C++ compiler: every target of every crate in
# turn, or those that are named. New inputs go to target/fuzz; `--merge` takes those that cover most code into
# tests/fuzz/inputs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: scripts/fuzz.sh [--list] [--seconds N] [--merge] [TARGET...]"
seconds=60 merge='' list='' names=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds)
        case ${2:-} in '' | *[!0-9]*) die "--seconds needs a number; $usage" ;; esac
        seconds=$2
        shift
        ;;
    --merge) merge=1 ;;
    --list) list=1 ;;
    -*) die "unknown argument $1; $usage" ;;
    *) names+=("$1") ;;
    esac
    shift
done
cd "$root"

# A target is `fuzz::target("NAME")` in the test of that name, in the sources of any crate.
sources=$(find . \( -name target -o -name node_modules -o -name '.?*' -o -path ./tests \) -prune -o -name '*.rs' -exec \
    grep -l 'fuzz::target("' {} +)
# No source has a blank in its name, so the list may be split.
# shellcheck disable=SC2086
targets=$(sed -n 's/.*fuzz::target("\([a-z0-9_]*\)").*/\1/p' $sources | LC_ALL=C sort)
[ -n "$targets" ] || die "no source has a fuzz target"
if [ -n "$list" ]; then
    echo "$targets"
    exit
fi
# Names are checked before anything that takes minutes.
for name in ${names[@]+"${names[@]}"}; do
    grep -qxF -- "$name" <<<"$targets" || die "there is no fuzz target $name; there are:"$'\n'"$targets"
done
if [ ${#names[@]} -eq 0 ]; then
    while read -r name; do names+=("$name"); done <<<"$targets"
fi
need_rust
need_python
need c++ "install a C++ compiler; libFuzzer is built from source"

fuzz_target=$cargo_target/fuzz
# libFuzzer needs each edge counted and each comparison traced. The standard library is not instrumented.
export RUSTFLAGS="--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

step "Building the targets"
# With a --target, build scripts and macros stay free of these flags.
host=$(rustc -vV | sed -n 's/^host: //p')
# Only crates that have a fuzz target are built: the others do not link without one.
packages=()
for source in $sources; do
    folder=$(dirname "$source")
    until [ -f "$folder/Cargo.toml" ]; do folder=$(dirname "$folder"); done
    packages+=(--package "$(sed -n '/^\[package\]/,$ s/^name *= *"\(.*\)"/\1/p' "$folder/Cargo.toml" | head -n 1)")
done
programs=$(cargo test "${packages[@]}" --lib --no-run --locked --profile fuzz --target "$host" --target-dir "$fuzz_target" \
    --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
[ -n "$programs" ] || die "cargo named no test program"

# find_target NAME: sets `program` and `test` to those of the target.
find_target() {
    while read -r program; do
        test=$("$program" --list 2>/dev/null | sed -n "s/^\(.*fuzz::$1\): test\$/\1/p")
        if [ -n "$test" ]; then return; fi
    done <<<"$programs"
    die "no crate has a test fuzz::$1, though a target is called so"
}

# merge_inputs NAME WORK: of the inputs, old and new, keeps the 12 that add most to the code covered. The next run
# starts from these and finds the rest again within a minute; a hundred more would help nobody.
# libFuzzer's own -merge starts the program again without the name of the test, so its inner step is called directly.
merge_inputs() {
    local work=$2 control=$2/control
    # The shortest come first, since what is short is quick and easy to read.
    find "$work/start" "$work/corpus" -type f -exec ls -Sr {} + >"$work/inputs"
    { wc -l <"$work/inputs" && echo 0 && cat "$work/inputs"; } >"$control"
    BOLERO_LIBFUZZER_ARGS="-merge_control_file=$control -merge_inner=1" \
        "$program" --exact "$test" --nocapture >"$work/log.merge" 2>&1 ||
        die "$1: the inputs could not be merged: see $work/log.merge"
    python3 tests/fuzz/corpus.py merge "tests/fuzz/inputs/$1" "$control" 12
}

findings=''
for name in "${names[@]}"; do
    find_target "$name"
    work=$fuzz_target/$name
    rm -rf "$work/start"
    mkdir -p "$work/start" "$work/corpus" "$work/crashes"
    python3 tests/fuzz/corpus.py unpack "tests/fuzz/inputs/$name" "$work/start"
    step "$name: ${seconds} s"
    # The arguments are split at blanks, and nothing quotes them. A -max_total_time of 0 would be no limit.
    if [ "$seconds" -eq 0 ]; then limit=-runs=0; else limit=-max_total_time=$seconds; fi
    if ! BOLERO_LIBFUZZER_ARGS="$work/corpus $work/start -artifact_prefix=$work/crashes/ $limit \
-timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -dict=$root/tests/fuzz/dictionary" \
        "$program" --exact "$test" --nocapture >"$work/log" 2>&1; then
        grep -E 'panicked at|^  *assertion|left:|right:' -A 2 "$work/log" | head -n 12 >&2
        printf "%s    FOUND: see %s; the input is in %s%s\n" "$red$bold" "$work/log" "$work/crashes" "$plain"
        findings=1
        continue
    fi
    note "$(sed -n 's/^stat::number_of_executed_units: */executions: /p' "$work/log")"
    if [ -n "$merge" ]; then merge_inputs "$name" "$work"; fi
done
[ -z "$findings" ] || die "some targets found something"

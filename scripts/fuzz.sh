#!/usr/bin/env bash
# Fuzzes with libFuzzer, on stable Rust and with nothing to install but a C++ compiler: every target in turn, or those
# whose names hold TEXT. New inputs go to target/fuzz; `--merge` takes those that reach new code into the corpora.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="scripts/fuzz.sh [--seconds N] [--merge] [TEXT]"
seconds=60 merge='' only=''
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=${2:?$usage} && shift ;;
    --merge) merge=1 ;;
    -*) die "$usage" ;;
    *) only=$1 ;;
    esac
    shift
done
need_rust
need c++ "install a C++ compiler; libFuzzer is built from source"
cd "$root"

fuzz_target=${CARGO_TARGET_DIR:-$root/target}/fuzz
# What libFuzzer wants: each edge counted, each comparison seen. The standard library is not instrumented.
export RUSTFLAGS="--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

step "Building the targets"
# With a --target, build scripts and macros stay free of these flags.
host=$(rustc -vV | sed -n 's/^host: //p')
mapfile -t programs < <(cargo test --workspace --lib --no-run --locked --profile fuzz --target "$host" --target-dir "$fuzz_target" \
    --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
[ -x "${programs[0]-}" ] || die "cargo named no test program"

# targets: each target as "test program, folder of its corpus, name of its test".
targets() {
    local program
    for program in "${programs[@]}"; do
        CARGO_BOLERO_SELECT=all "$program" --nocapture --test-threads 1 fuzz:: |
            sed -n "s|.*\"work_dir\":\"\([^\"]*\)\".*\"test_name\":\"\([^\"]*\)\".*|$program \1 \2|p"
    done
}

# merge FOLDER WORK NAME: of the inputs, old and new, the 48 that add most to what is reached. Those are the start for
# the next one, who finds the rest again within a minute; a thousand files more would be no help to anybody.
# libFuzzer's own -merge starts the program again without the name of the test, so its inner step is called directly.
merge() {
    local folder=$1 work=$2 name=$3 control=$2/control
    # The shortest first, since what is short is quick and easy to read.
    ls -Sr -- "$folder"/* "$work"/corpus/* >"$work/inputs"
    { wc -l <"$work/inputs" && echo 0 && cat "$work/inputs"; } >"$control"
    BOLERO_LIBFUZZER_ARGS="-merge_control_file=$control -merge_inner=1" \
        "$program" --exact "$name" --nocapture >"$work/log.merge" 2>&1 ||
        die "$name: the corpus could not be merged: see $work/log.merge"
    python3 - "$control" "$folder" <<'PYTHON'
import os, shutil, sys

control, folder = sys.argv[1:]
lines = open(control).read().split("\n")
files, reached = lines[2:2 + int(lines[0])], {}
for line in lines:
    if line.startswith("COV "):
        # The edges that no input before it reached.
        number, *edges = line.split()[1:]
        reached[files[int(number)]] = len(edges)
chosen = sorted(reached, key=reached.get, reverse=True)[:48]
new = folder + ".new"
os.makedirs(new)
for file in chosen:
    shutil.copy(file, os.path.join(new, os.path.basename(file)))
shutil.rmtree(folder)
os.rename(new, folder)
kept, found = sum(map(reached.get, chosen)), sum(reached.values())
print(f"    corpus: {len(chosen)} inputs, which reach {kept} of the {found} edges that were found")
PYTHON
}

found='' findings=''
while read -r program folder name; do
    case $name in *"$only"*) ;; *) continue ;; esac
    found=1
    work=$fuzz_target/${name//::/-}
    mkdir -p "$work/corpus" "$work/crashes" "$folder/corpus"
    dictionary=$root/src/fuzz.dict
    step "$name: ${seconds} s"
    # libFuzzer has no words in its arguments: they are split at blanks.
    if ! BOLERO_LIBFUZZER_ARGS="$work/corpus $folder/corpus -artifact_prefix=$work/crashes/ -max_total_time=$seconds \
-timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -dict=$dictionary" \
        "$program" --exact "$name" --nocapture >"$work/log" 2>&1; then
        grep -E 'panicked at|^  *assertion|left:|right:' -A 2 "$work/log" | head -n 12 >&2
        printf "%s    FOUND: see %s; the input is in %s%s\n" "$red$bold" "$work/log" "$work/crashes" "$plain"
        findings=1
        continue
    fi
    note "$(sed -n 's/^stat::number_of_executed_units: */executions: /p' "$work/log")"
    if [ -n "$merge" ]; then
        merge "$folder/corpus" "$work" "$name"
    fi
done < <(targets)
[ -n "$found" ] || die "no target is called $only"
[ -z "$findings" ] || die "some targets found something"

#!/usr/bin/env bash
# Runs every check and test, or the stages that are named, and stops at the first one that fails.
#
# Usage: scripts/test.sh [--list] [STAGE...]
#   `check` is those that take two minutes and need neither an engine nor a language but Rust and Python.
#   WORKERS: how many processes run the tests of Python; 3 without it.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Every stage and what it is, in order. The function stage_NAME runs it.
stages="lint|Formatting, lints and documentation of the Rust code
supply|Supply chain: licences, sources, advisories, the oldest Rust
rust|Tests in Rust, with the inputs of every fuzz target
build|Programs for the stages below
engine|The Pulumi engine, built once
schema|Schema and SDKs
official|The plugin that stands in for the official one, built once
python|Python environment of the stages below
quick|Tests of the plugin over raw gRPC
slow|Tests against the real engine, real clients and every language
wheel|The wheel of the local workspace, in a fresh project
demo|The demo in YAML and in TypeScript
counts|Instruction counts of the release build"
check="lint rust build python quick"
# These run only where they are named: parts of the above, and what takes five minutes to build and changes with its pins only.
parts="languages|Every language, from end to end (a part of slow)
oldest|The oldest Pulumi that is supported (only by itself)"

names() { cut -d '|' -f 1 <<<"$stages"; }
title() { awk -F '|' -v name="$1" '$1 == name { print $2 }' <<<"$stages"$'\n'"$parts"; }

wanted=()
for argument in "$@"; do
    case $argument in
    --list)
        awk -F '|' '{ printf "  %-10s %s\n", $1, $2 }' <<<"$stages"$'\n'"$parts"
        printf '  %-10s %s\n' check "short for: $check"
        exit
        ;;
    # Split on the blanks on purpose.
    # shellcheck disable=SC2206
    check) wanted+=($check) ;;
    *)
        [ -n "$(title "$argument")" ] || die "there is no stage $argument; there are: $({ names; cut -d '|' -f 1 <<<"$parts"; } | tr '\n' ' ')check"
        wanted+=("$argument")
        ;;
    esac
done
if [ ${#wanted[@]} -eq 0 ]; then while read -r name; do wanted+=("$name"); done < <(names); fi
selected() { printf '%s\n' "${wanted[@]}" | grep -qxF -- "$1"; }

need_rust
need_python
for name in "${wanted[@]}"; do
    case $name in
    engine | schema | official | oldest) need_go ;;
    slow | languages) need_go && need_node && need_java ;;
    demo) need_go && need_node ;;
    esac
done
cd "$root" || exit 1

export CARGO_TARGET_DIR=$cargo_target
export PLUGIN_BIN=$cargo_target/debug/pulumi-resource-databricks
export LOCAL_WORKSPACE_BIN=$cargo_target/debug/databricks-local-workspace
export ENGINE_BIN_DIR=$engine_bin

# Output goes through tee, where cargo and pytest would not use colours by themselves.
if [ -n "$green" ]; then export CARGO_TERM_COLOR=always PY_COLORS=1; fi

logs=$(mktemp -d)
engine_build=''
# What was begun beside the others ends with this script.
clean_up() {
    if [ -n "$engine_build" ]; then kill "$engine_build" 2>/dev/null; fi
    rm -rf "$logs"
}
trap clean_up EXIT
passed=0 skipped=0
started=$SECONDS

# The tests of a file stay in one process and in order: they may share a workspace and what was prepared for them.
# tests/python/conftest.py says which files come first.
pytest() {
    target/venv/bin/python -m pytest --numprocesses "${WORKERS:-3}" --dist loadfile --no-loadscope-reorder --durations 10 -rs "$@"
}

stage_lint() {
    cargo fmt --all --check &&
        cargo clippy --workspace --all-targets --all-features --locked -- -D warnings &&
        RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items --locked
}
stage_supply() { scripts/supply-chain.sh --full; }
stage_rust() { cargo test --workspace --locked; }
stage_build() { cargo build --workspace --locked; }
stage_engine() { scripts/engine.sh --java --codegen; }
stage_schema() { "$engine_bin/pulumi" schema check schema.json && scripts/sdk.sh --check; }
stage_official() { scripts/stand-in.sh; }
stage_python() { scripts/python.sh; }
stage_quick() { pytest tests/python -m quick; }
# The languages mostly wait for their compilers, so the others run beside them. Each language prints what it took.
stage_slow() { pytest tests/python -m "not quick" --ignore tests/python/test_workspace_wheel.py; }
stage_wheel() { scripts/wheel.sh --debug && pytest tests/python/test_workspace_wheel.py; }
# Each test is on its own here.
stage_languages() { pytest tests/python/test_languages.py tests/python/test_sdk_packages.py --dist worksteal; }
# YAML has a language host and TypeScript has none: the two ways of the demo. The programs of all languages are tested above.
# Both at once, but one after the other on the screen.
stage_demo() {
    scripts/demo.sh --debug --language typescript >"$logs/typescript" 2>&1 &
    local other=$! code=0
    scripts/demo.sh --debug --language yaml || code=$?
    wait "$other" || code=$?
    cat "$logs/typescript"
    return "$code"
}
stage_counts() { scripts/instructions.sh; }
# The life of a token, rotation and imports; Pulumi's SDK for Python refuses an engine that old. With the deselected test it
# is the language host that logs values.
stage_oldest() {
    scripts/engine.sh --oldest && ENGINE_BIN_DIR=$root/target/engine/oldest pytest tests/python/test_engine_yaml.py \
        --deselect tests/python/test_engine_yaml.py::test_the_most_verbose_logs_hold_no_value
}

# unchecked: what the stages did not check: what scripts say so of, and tests that were skipped.
unchecked() {
    cat "$logs"/*.log 2>/dev/null | sed $'s/\033\\[[0-9;]*m//g' |
        sed -n -e 's/^.*NOT CHECKED: /  NOT CHECKED: /p' -e 's/^SKIPPED \[[0-9]*\] /  NOT CHECKED: /p' | awk '!seen[$0]++'
}

# summary FAILED: ends with the line that counts, alone on its line. What was not checked is among the counts.
summary() {
    local left
    left=$(unchecked)
    if [ -n "$left" ]; then printf '\n%sWhat this run did not check:%s\n%s\n' "$red$bold" "$plain" "$left"; fi
    note "$((SECONDS - started)) s"
    printf '\n%d passed, %d failed, %d skipped' "$passed" "$1" "$skipped"
    if [ -n "$left" ]; then printf ', %s%d NOT CHECKED%s' "$red$bold" "$(wc -l <<<"$left")" "$plain"; fi
    printf '\n'
}

# count LOG WORD: adds up what the tests of a stage report. cargo prints "test result: ok. 12 passed; 0 failed; 1 ignored",
# pytest "12 passed, 1 skipped, 1 warning in 3.4s".
count() {
    sed $'s/\033\\[[0-9;]*m//g' "$1" | grep -E '^test result: |(passed|failed|skipped|errors?).* in [0-9.]+s' |
        grep -oE "[0-9]+ ($2)" | awk '{ n += $1 } END { print n + 0 }'
}

# It takes long and only the compiler of Go, so it begins now; its stage waits for it.
if selected engine && selected rust; then
    nice scripts/engine.sh --java --codegen >/dev/null 2>&1 &
    engine_build=$!
fi

for name in "${wanted[@]}"; do
    began=$SECONDS
    step "$(title "$name")"
    # If that failed, the stage does it again and shows why.
    if [ "$name" = engine ] && [ -n "$engine_build" ]; then wait "$engine_build" || true; fi
    "stage_$name" 2>&1 | tee "$logs/$name.log"
    code=${PIPESTATUS[0]}
    passed=$((passed + $(count "$logs/$name.log" passed)))
    skipped=$((skipped + $(count "$logs/$name.log" 'skipped|ignored')))
    if [ "$code" -ne 0 ]; then
        failed=$(count "$logs/$name.log" 'failed|errors?')
        printf '\n%sFAILED: %s, after %d s%s\n' "$red$bold" "$(title "$name")" $((SECONDS - began)) "$plain" >&2
        # A stage without tests that fails is one failure.
        summary "$((failed > 0 ? failed : 1))"
        exit 1
    fi
    note "$((SECONDS - began)) s"
done
summary 0

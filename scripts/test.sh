#!/usr/bin/env bash
# Runs every check and test, and stops at the first stage that fails.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 0 ] || die "scripts/test.sh takes no arguments; run one part with cargo test or target/venv/bin/pytest"
need_rust
need_go
need_python
need_node
need_java
cd "$root" || exit 1

export CARGO_TARGET_DIR=$cargo_target
export PLUGIN_BIN=$cargo_target/debug/pulumi-resource-databricks
export LOCAL_WORKSPACE_BIN=$cargo_target/debug/databricks-local-workspace
export ENGINE_BIN_DIR=$engine_bin

# Output goes through tee, where cargo and pytest would not use colours by themselves.
if [ -n "$green" ]; then export CARGO_TERM_COLOR=always PY_COLORS=1; fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0
started=$SECONDS

# stage NAME COMMAND...: runs one stage, shows what it prints, and counts the tests that it reports.
stage() {
    local name=$1 began=$SECONDS count
    shift
    step "$name"
    if ! "$@" 2>&1 | tee "$log"; then
        printf '\n%sFAILED: %s, after %d s; %d tests passed before it%s\n' "$red$bold" "$name" $((SECONDS - began)) "$passed" "$plain" >&2
        exit 1
    fi
    # cargo prints "test result: ok. 12 passed; ...", pytest "12 passed, 1 warning in 3.4s".
    count=$(grep -E '^test result: ok\.|[0-9]+ passed.* in [0-9.]+s' "$log" | grep -oE '[0-9]+ passed' | awk '{ n += $1 } END { print n + 0 }')
    passed=$((passed + count))
    note "$((SECONDS - began)) s"
}

stage "Formatting" cargo fmt --all --check
stage "Lints" cargo clippy --workspace --all-targets --locked -- -D warnings
stage "Documentation" env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items --locked
stage "Supply chain" scripts/supply-chain.sh --full
stage "Rust tests" cargo test --workspace --locked
stage "Programs for the tests below" cargo build --workspace --locked
stage "Pulumi engine" scripts/engine.sh --java --codegen
stage "Schema" "$engine_bin/pulumi" schema check schema.json
stage "SDKs" scripts/sdk.sh --check
stage "Python environment" scripts/python.sh
stage "Tests against the real engine and real clients" target/venv/bin/python -m pytest tests/python \
    --ignore tests/python/test_languages.py
# In two processes, since these wait for compilers most of the time. It prints what each language took, and what could
# not be tried here.
stage "Every language" target/venv/bin/python -m pytest tests/python/test_languages.py \
    --numprocesses 2 --durations 5 -rs
for language in yaml python typescript go java; do
    stage "Demo in $language" scripts/demo.sh --debug --language "$language"
done

printf '\n%s%d passed, 0 failed%s in %d s\n' "$green$bold" "$passed" "$plain" $((SECONDS - started))

#!/usr/bin/env bash
# Counts the instructions of the release build with valgrind, and fails where a figure of benches/instructions.toml is
# exceeded.
#
# Usage: scripts/instructions.sh [--update]
#   --update writes the figures instead.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$root"
if ! command -v valgrind >/dev/null; then
    printf '%sNOT CHECKED: instructions, which valgrind counts: install it (Debian and Ubuntu: apt-get install valgrind)%s\n' \
        "$red$bold" "$plain"
    exit
fi
if [ ! -f benches/instructions.toml ] && [ "${1:-}" != --update ]; then
    echo "NOT CHECKED: instructions, of which no figures are committed yet: scripts/instructions.sh --update counts them"
    exit
fi
need_rust
# The plugin is built as by `make build`, with the same features. The local workspace may be slow: a debug build is
# enough.
run cargo build --release --locked --workspace --bin pulumi-resource-databricks
run cargo build --locked --workspace
scripts/python.sh
target/venv/bin/python benches/instructions.py --plugin "$cargo_target/release/pulumi-resource-databricks" \
    --workspace "$cargo_target/debug/databricks-local-workspace" "$@"

#!/usr/bin/env bash
# Builds the plugin that stands in for the official one in the tests (tests/forward/go) into target/forward. Does
# nothing when it is there and its source is unchanged.
#
# Usage: scripts/stand-in.sh [--schema]
#   --schema writes tests/forward/go/schema.json anew instead, which takes much longer.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

source=$root/tests/forward/go
files=("$source/go.mod" "$source/go.sum" "$source/main.go" "$source/schema.json" "$source/standin/standin.go")
program=$root/target/forward/pulumi-resource-databricks
ready() { [ -x "$program" ] && fresh "$program.stamp" "${files[@]}"; }

case ${1:-} in
'')
    if ready; then exit 0; fi
    need_go
    lock stand-in
    # Another run may have built it while this one waited for the lock.
    if ready; then exit 0; fi
    mkdir -p "$(dirname "$program")"
    slowly "building the plugin that stands in for the official one" "several minutes the first time, mostly compiling" \
        go build -C "$source" -mod=readonly -o "$program.new" -ldflags "-s -w" .
    mv "$program.new" "$program"
    stamp "$program.stamp" "${files[@]}"
    ;;
--schema)
    need_go
    go run -C "$source" -mod=readonly ./generate >"$source/schema.json.new"
    mv "$source/schema.json.new" "$source/schema.json"
    ;;
*) die "usage: scripts/stand-in.sh [--schema]" ;;
esac

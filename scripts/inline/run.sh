#!/usr/bin/env bash
# Runs `up` or `preview` of the Pulumi project in the current folder, which scripts/example.sh has prepared.
#
# Usage: scripts/inline/run.sh python|typescript|go [--stack NAME] [--expect-no-changes] up|preview
#
# The hosts of these languages come only with a Pulumi installation, so here the programs run as inline programs of the
# Automation API, unchanged. The engine is the `pulumi` on PATH. YAML and Java programs run with `pulumi` itself.
set -euo pipefail
inline=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$inline/../lib.sh"

[ $# -ge 2 ] || die "usage: scripts/inline/run.sh LANGUAGE [--stack NAME] [--expect-no-changes] up|preview"
language=$1
shift
case $language in
python)
    exec "$languages_cache/python/venv/bin/python" "$inline/python_runner.py" "$@"
    ;;
typescript)
    [ bin/index.js -nt index.ts ] || node_modules/.bin/tsc
    exec node "$inline/node_runner.js" "$@" bin/index.js
    ;;
go)
    cp "$inline/go_runner_test.go" inline_runner_test.go
    # The runner needs more modules than the program does, so it has a go.mod of its own.
    cp "$inline/go_runner.mod" "$inline/go_runner.sum" .
    go test -modfile=go_runner.mod -mod=readonly -c -o inline-runner .
    exec ./inline-runner "$@"
    ;;
*) die "no inline runner for $language: use python, typescript or go" ;;
esac

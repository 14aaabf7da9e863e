#!/usr/bin/env bash
# Generates the SDKs in sdk/ from schema.json, or checks that they are what would be generated.
#
# Usage: scripts/sdk.sh [--check] [python] [nodejs] [go] [java] [dotnet]
#   Without a language: all of them. --check changes nothing and fails when a file differs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

check=no
languages=()
for argument in "$@"; do
    case $argument in
    --check) check=yes ;;
    python | nodejs | go | java | dotnet) languages+=("$argument") ;;
    *) die "unknown argument $argument; usage: scripts/sdk.sh [--check] [python] [nodejs] [go] [java] [dotnet]" ;;
    esac
done
[ ${#languages[@]} -gt 0 ] || languages=(python nodejs go java dotnet)

need_go
[ -f "$root/schema.json" ] || die "schema.json is missing: check it out again (git checkout schema.json)"

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

generate() {
    # Each step returns when it fails, because `set -e` has no effect here.
    (cd "$root/tools" && go run -mod=readonly ./gen-sdk --schema "$root/schema.json" --out "$made" \
        --language "$(IFS=,; echo "${languages[*]}")") || return
    # The Go SDK's go.mod stands in its folder or above it, as its module path says. The rest of that file, and go.sum,
    # follow from what it requires.
    local module
    for module in "$made/go" "$made"; do
        if [ -f "$module/go.mod" ]; then (cd "$module" && go mod tidy) || return; fi
    done
}
slowly "generating the SDKs (${languages[*]})" "about a minute the first time, then seconds" generate

# What tools leave in an SDK's folder when somebody builds it there.
build_products=(-x node_modules -x bin -x obj -x build -x dist -x target -x __pycache__ -x '*.egg-info' -x .gradle -x package-lock.json)

# entries_of LANGUAGE: what belongs to the language, relative to sdk/.
entries_of() {
    echo "$1"
    if [ "$1" = go ]; then echo go.mod go.sum; fi
}

different=()
for language in "${languages[@]}"; do
    for entry in $(entries_of "$language"); do
        if [ "$check" = yes ]; then
            [ -e "$root/sdk/$entry" ] || [ -e "$made/$entry" ] || continue
            if ! diff -ruN "${build_products[@]}" "$root/sdk/$entry" "$made/$entry" >"$made/$entry.diff"; then
                different+=("$entry")
            fi
        else
            rm -rf "${root:?}/sdk/$entry"
            if [ -e "$made/$entry" ]; then mkdir -p "$root/sdk" && mv "$made/$entry" "$root/sdk/$entry"; fi
        fi
    done
done

if [ ${#different[@]} -gt 0 ]; then
    for entry in "${different[@]}"; do
        # Two lines of a unified diff name the files; the rest counts what changed in each.
        awk -v made="$made/" -v root="$root/" '
            /^--- / { file = $2 } /^\+\+\+ / { if ($2 != "/dev/null") file = $2; sub(made, "sdk/", file); sub(root, "", file); order[++n] = file; next }
            /^-[^-]|^-$/ { gone[file]++ } /^\+/ { new[file]++ }
            END { for (i = 1; i <= n; i++) printf "  %s: %d lines to add, %d to remove\n", order[i], new[order[i]], gone[order[i]] }
        ' "$made/$entry.diff" >&2
        head -n 40 "$made/$entry.diff" | sed "s#$made/#generated/#; s#$root/##" >&2
    done
    die "the SDKs in sdk/ are not what schema.json generates (${different[*]}): run make sdk"
fi
if [ "$check" = yes ]; then
    good "sdk/ is what schema.json generates: ${languages[*]}"
else
    good "written: ${languages[*]/#/sdk/}"
fi

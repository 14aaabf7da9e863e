#!/usr/bin/env bash
# Builds the Pulumi engine (the `pulumi` command) and language hosts at the versions that tools/go.mod pins, into
# target/engine/bin. Does nothing when they are there and the pins are unchanged.
#
# Usage: scripts/engine.sh [--java] [--codegen]
#    or: scripts/engine.sh --oldest
#   Always: pulumi and the host of YAML programs. --java adds that of Java programs.
#   --codegen adds, in target/engine/codegen, what `pulumi convert` and `pulumi import` need to write programs in Python,
#   TypeScript and Go. These hosts cannot run a program, so they stand apart.
#   --oldest builds the oldest pulumi that is supported instead, with a host of YAML programs, at the versions that
#   tools/oldest pins, into target/engine/oldest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

programs=(pulumi pulumi-language-yaml)
for argument in "$@"; do
    case $argument in
    --java) programs+=(pulumi-language-java) ;;
    --oldest) programs=(oldest/pulumi oldest/pulumi-language-yaml) ;;
    --codegen) programs+=(pulumi-converter-yaml pulumi-language-python pulumi-language-nodejs pulumi-language-go) ;;
    *) die "unknown argument $argument; usage: scripts/engine.sh [--java] [--codegen], or --oldest" ;;
    esac
done

package_of() {
    case ${1#oldest/} in
    pulumi) echo github.com/pulumi/pulumi/pkg/v3/cmd/pulumi ;;
    pulumi-language-yaml) echo github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml ;;
    pulumi-language-java) echo github.com/pulumi/pulumi-java/pkg/cmd/pulumi-language-java ;;
    pulumi-converter-yaml) echo github.com/pulumi/pulumi-yaml/cmd/pulumi-converter-yaml ;;
    *) echo ./codegen-host ;;
    esac
}

# module_of PROGRAM: the folder of the go.mod that pins it. The two old ones need different versions of the same modules.
module_of() {
    case $1 in
    oldest/pulumi) echo "$root/tools/oldest/engine" ;;
    oldest/*) echo "$root/tools/oldest/yaml" ;;
    *) echo "$root/tools" ;;
    esac
}

# file_of PROGRAM: where it goes.
file_of() {
    case $1-$(package_of "$1") in
    oldest/*) echo "$root/target/engine/$1" ;;
    *-./codegen-host | */pulumi-converter-yaml) echo "$root/target/engine/codegen/$1" ;;
    *) echo "$engine_bin/$1" ;;
    esac
}

# pins_of PROGRAM: sets `pins` to the files that say how it is built.
pins_of() {
    local module
    module=$(module_of "$1")
    pins=("$module/go.mod" "$module/go.sum" "$root/scripts/engine.sh")
    case $(package_of "$1") in
    ./codegen-host) pins+=("$root"/tools/codegen-host/*.go) ;;
    */cmd/pulumi) if [ "$module" = "$root/tools" ]; then pins+=("$root"/tools/zxcvbn/*/*); fi ;;
    esac
}
stamps=$root/target/engine/stamps

stale() {
    pins_of "$1"
    [ -x "$(file_of "$1")" ] && fresh "$stamps/$1" "${pins[@]}" && return 1
    return 0
}

wanted=()
for program in "${programs[@]}"; do
    if stale "$program"; then wanted+=("$program"); fi
done
[ ${#wanted[@]} -gt 0 ] || exit 0

need_go
lock engine
for program in "${wanted[@]}"; do
    # Another run may have built it while this one waited for the lock.
    stale "$program" || continue
    module=$(module_of "$program")
    version=$(sed -nE 's#^(require )?[[:space:]]*github.com/pulumi/pulumi/pkg/v3 v([^ ]*).*#\2#p' "$module/go.mod")
    hint="seconds when Go has its parts cached"
    case $program in pulumi | oldest/*) hint="about 5 minutes the first time, mostly compiling" ;; esac
    file=$(file_of "$program")
    mkdir -p "$(dirname "$file")"
    new=$(dirname "$file")/.$(basename "$file").new
    flags="-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v$version"
    case $program in
    # It kept its version elsewhere, and one of its parts reaches into Go's own, which a newer linker refuses.
    oldest/*) flags="$flags -checklinkname=0 -X github.com/pulumi/pulumi/pkg/v3/version.Version=v$version" ;;
    esac
    build=(go build -C "$module" -mod=readonly -o "$new" -ldflags "$flags" "$(package_of "$program")")
    what="building $program"
    case $program in pulumi | oldest/pulumi) what="building the Pulumi engine $version" ;; esac
    slowly "$what" "$hint" "${build[@]}"
    # Renaming is atomic: a program that runs right now keeps its file, and nobody sees half of one.
    mv "$new" "$file"
    stamp "$stamps/$program" "${pins[@]}"
done
note "ready in target/engine: ${wanted[*]}"

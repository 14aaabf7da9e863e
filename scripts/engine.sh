#!/usr/bin/env bash
# Builds the Pulumi engine (the `pulumi` command) and language hosts at the versions that tools/go.mod pins, into
# target/engine/bin. Does nothing when they are there and the pins are unchanged.
#
# Usage: scripts/engine.sh [--java] [--codegen]
#   Always: pulumi and the host of YAML programs. --java adds that of Java programs.
#   --codegen adds, in target/engine/codegen, what `pulumi convert` and `pulumi import` need to write programs in Python,
#   TypeScript and Go. These hosts cannot run a program, so they stand apart.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

programs=(pulumi pulumi-language-yaml)
for argument in "$@"; do
    case $argument in
    --java) programs+=(pulumi-language-java) ;;
    --codegen) programs+=(pulumi-converter-yaml pulumi-language-python pulumi-language-nodejs pulumi-language-go) ;;
    *) die "unknown argument $argument; usage: scripts/engine.sh [--java] [--codegen]" ;;
    esac
done

package_of() {
    case $1 in
    pulumi) echo github.com/pulumi/pulumi/pkg/v3/cmd/pulumi ;;
    pulumi-language-yaml) echo github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml ;;
    pulumi-language-java) echo github.com/pulumi/pulumi-java/pkg/cmd/pulumi-language-java ;;
    pulumi-converter-yaml) echo github.com/pulumi/pulumi-yaml/cmd/pulumi-converter-yaml ;;
    *) echo ./codegen-host ;;
    esac
}

folder_of() {
    case $(package_of "$1") in
    ./codegen-host | */pulumi-converter-yaml) echo "$root/target/engine/codegen" ;;
    *) echo "$engine_bin" ;;
    esac
}

# pins_of PROGRAM: sets `pins` to the files that say how it is built.
pins_of() {
    pins=("$root/tools/go.mod" "$root/tools/go.sum" "$root/scripts/engine.sh")
    if [ "$(package_of "$1")" = ./codegen-host ]; then pins+=("$root"/tools/codegen-host/*.go); fi
}
stamps=$root/target/engine/stamps

stale() {
    pins_of "$1"
    [ -x "$(folder_of "$1")/$1" ] && fresh "$stamps/$1" "${pins[@]}" && return 1
    return 0
}

wanted=()
for program in "${programs[@]}"; do
    if stale "$program"; then wanted+=("$program"); fi
done
[ ${#wanted[@]} -gt 0 ] || exit 0

need_go
lock engine
version=$(sed -n 's#^\t*github.com/pulumi/pulumi/pkg/v3 v##p' "$root/tools/go.mod")
for program in "${wanted[@]}"; do
    # Another run may have built it while this one waited for the lock.
    stale "$program" || continue
    hint="seconds when Go has its parts cached"
    if [ "$program" = pulumi ]; then hint="about 5 minutes the first time, mostly compiling"; fi
    folder=$(folder_of "$program")
    mkdir -p "$folder"
    new=$folder/.$program.new
    build=(go build -C "$root/tools" -mod=readonly -o "$new"
        -ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v$version"
        "$(package_of "$program")")
    what="building $program"
    if [ "$program" = pulumi ]; then what="building the Pulumi engine $version"; fi
    slowly "$what" "$hint" "${build[@]}"
    # Renaming is atomic: a program that runs right now keeps its file, and nobody sees half of one.
    mv "$new" "$folder/$program"
    stamp "$stamps/$program" "${pins[@]}"
done
note "ready in target/engine: ${wanted[*]}"

#!/usr/bin/env bash
# Builds the release: an archive for each system that can be built here, its list of components (SBOM), and checksums.
# The same commit and the same Rust should give the same bytes, which --check compares.
#
# Usage: scripts/release.sh [--check] [--tag TAG] [--out FOLDER] [SYSTEM...]
#        scripts/release.sh --sums FOLDER
#   SYSTEM is linux-amd64, linux-arm64 or windows-amd64, and on a Mac darwin-amd64 or darwin-arm64. Without one: all
#   that can be built here. --check builds everything once more, from a copy of the sources in another folder, and
#   compares the bytes.
#   --tag refuses to build another version than the tag names. --sums builds nothing: it writes the checksums and the
#   installer into a folder of archives, since those for Linux and macOS come from two machines.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: scripts/release.sh [--check] [--tag TAG] [--out FOLDER] [SYSTEM...], or --sums FOLDER"
name=pulumi-resource-databricks
check='' tag='' out='' systems=()
# The largest size of a program for Linux, in bytes.
largest=7000000

# finish FOLDER: writes the checksums, and what installs the plugin from the folder.
finish() {
    cp "$root/scripts/install.sh" "$1/install.sh"
    printf 'install:\n\t@./install.sh\n' >"$1/Makefile"
    (cd "$1" && sums "$name"-v*) >"$1/SHA256SUMS"
    cat "$1/SHA256SUMS"
}

while [ $# -gt 0 ]; do
    case $1 in
    --check) check=1 ;;
    --sums)
        finish "${2:?$usage}"
        exit
        ;;
    --tag)
        tag=${2:?$usage}
        shift
        ;;
    --out)
        out=${2:?$usage}
        shift
        ;;
    linux-amd64 | linux-arm64 | windows-amd64 | darwin-amd64 | darwin-arm64) systems+=("$1") ;;
    *) die "unknown argument $1; $usage" ;;
    esac
    shift
done
is_mac=
if [ "$(uname -s)" = Darwin ]; then is_mac=1; fi
if [ ${#systems[@]} -eq 0 ]; then
    if [ -n "$is_mac" ]; then systems=(darwin-amd64 darwin-arm64); else systems=(linux-amd64 linux-arm64 windows-amd64); fi
fi
need_rust
need_python
need rustup "the standard library of each system comes with rustup (https://rustup.rs)"
cd "$root"

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
[ -z "$tag" ] || [ "$tag" = "v$version" ] || die "the tag $tag is not that of version $version in Cargo.toml"
out=${out:-$root/target/release-$version}
mkdir -p "$out"
out=$(cd "$out" && pwd)
# Every file in the archives gets this time: that of the last commit or, outside a checkout, the beginning of 1970.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# A check that did not run is reported again at the end, where nobody misses it.
left=()
unchecked() {
    left+=("$*")
    printf '%s    NOT CHECKED: %s%s\n' "$red$bold" "$*" "$plain" >&2
}

target_of() {
    case $1 in
    linux-amd64) echo x86_64-unknown-linux-musl ;;
    linux-arm64) echo aarch64-unknown-linux-musl ;;
    windows-amd64) echo x86_64-pc-windows-gnu ;;
    darwin-amd64) echo x86_64-apple-darwin ;;
    darwin-arm64) echo aarch64-apple-darwin ;;
    esac
}

program_of() { case $1 in windows-*) echo "$name.exe" ;; *) echo "$name" ;; esac }

# built SYSTEM FOLDER: where cargo puts the program when FOLDER is its target folder.
built() { echo "$2/$(target_of "$1")/release/$(program_of "$1")"; }

# tools: installs the cross linker into an environment of its own.
tools() {
    local venv=$root/target/tools/release
    if fresh "$venv.stamp" scripts/release-requirements.txt && [ -x "$venv/bin/cargo-zigbuild" ]; then return; fi
    install_tools() {
        rm -rf "$venv" && python3 -m venv "$venv" &&
            "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet install --require-hashes \
                --only-binary :all: --requirement scripts/release-requirements.txt
    }
    slowly "installing the cross linker" "about 30 seconds" install_tools
    stamp "$venv.stamp" scripts/release-requirements.txt
}

# build SYSTEM SOURCES FOLDER: builds the program from the sources, with FOLDER as cargo's target folder.
build() {
    local target flags verb=zigbuild cargo_home=${CARGO_HOME:-$HOME/.cargo}
    target=$(target_of "$1")
    # Otherwise panic messages would hold paths of this machine, and the bytes would differ from machine to machine.
    # Where more than one prefix fits a path, the last one counts.
    flags="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$2=/source --remap-path-prefix=$3=/build"
    case $1 in darwin-*) verb=build ;; esac
    rustup target list --installed | grep -qxF "$target" || run rustup target add "$target"
    [ "$verb" = build ] || PATH=$root/target/tools/release/bin:$PATH
    export PATH
    (cd "$2" && run env RUSTFLAGS="$flags" cargo "$verb" --release --locked --target "$target" --target-dir "$3" --package "$name")
}

# pack SYSTEM FOLDER TO: makes the archive of a program that was built in the folder.
pack() {
    local content=$2/content-$1 size
    size=$(wc -c <"$(built "$1" "$2")")
    case $1 in
    linux-*) [ "$size" -le "$largest" ] || die "the program for $1 has $size bytes, over the $largest that docs/performance.md promises" ;;
    esac
    note "the program for $1 has $size bytes"
    rm -rf "$content"
    mkdir -p "$content" "$3"
    cp "$(built "$1" "$2")" README.md LICENSE CHANGELOG.md "$content"
    python3 scripts/archive.py "$3/$name-v$version-$1.tar.gz" "$content" "$SOURCE_DATE_EPOCH"
}

# stand_in_for_wine FOLDER: makes the library that an old Wine lacks. A newer Wine uses its own.
stand_in_for_wine() {
    mkdir -p "$1"
    target/tools/release/bin/python-zig cc -target x86_64-windows-gnu -shared -O1 -o "$1/bcryptprimitives.dll" \
        scripts/bcryptprimitives.c -ladvapi32
}

# try_it SYSTEM PROGRAM: starts the program, under an emulator where this machine cannot run it by itself.
try_it() {
    local said by runner=()
    case $1-$(uname -s)-$(uname -m) in
    linux-amd64-Linux-x86_64 | linux-arm64-Linux-aarch64 | darwin-amd64-Darwin-x86_64 | darwin-arm64-Darwin-arm64) ;;
    linux-arm64-Linux-*) runner=("$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)") ;;
    linux-amd64-Linux-*) runner=("$(command -v qemu-x86_64 || command -v qemu-x86_64-static || true)") ;;
    windows-*) runner=("$(command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null || true)") ;;
    *) runner=('') ;;
    esac
    if [ ${#runner[@]} -gt 0 ] && [ -z "${runner[0]}" ]; then
        unchecked "the program for $1 was built but not started: this machine has nothing to run it with (Debian: qemu-user, wine64)"
        return
    fi
    by=${runner[0]:-}
    # Wine keeps its files in a folder of the build, and is not to report on stderr what it lacks.
    local libraries=$root/target/release-build/wine-libraries
    local -x WINEDEBUG=-all WINEPREFIX=$root/target/release-build/wine WINEPATH="Z:${libraries//\//\\}"
    case $1-$by in windows-*wine*) stand_in_for_wine "$libraries" ;; esac
    runner+=("$2")
    said=$("${runner[@]}" --version 2>/dev/null | tr -d '\r') || die "the program for $1 does not start"
    [ "$said" = "$version" ] || die "the program for $1 says it is version '$said', not $version"
    said=$("${runner[@]}" --help 2>/dev/null) || die "the program for $1 prints no help"
    grep -q 'Usage: pulumi-resource-databricks' <<<"$said" || die "the help of the program for $1 is not the plugin's: $said"
    # When the doctor reports a host that accepts no connection, the network and the clock work, too.
    said=$(DATABRICKS_HOST=http://127.0.0.1:9 DATABRICKS_TOKEN=none "${runner[@]}" doctor 2>/dev/null) || true
    grep -q 'cannot connect to http://127.0.0.1:9' <<<"$said" || die "the doctor of the program for $1 does not work: $said"
    said=$(target/venv/bin/python scripts/ask.py "${runner[@]}" 2>/dev/null) || die "the program for $1 does not serve"
    [ "$said" = "$version" ] || die "the program for $1 serves version '$said', not $version"
    good "the program for $1 starts${by:+ under $(basename "$by")}, its doctor answers, and it serves its schema"
}

# copy_sources FOLDER: copies the sources there. Files keep their times, so that cargo recognises unchanged ones.
copy_sources() {
    rm -rf "$1"
    mkdir -p "$1"
    tar -cf - --exclude ./target --exclude ./.git --exclude node_modules . | tar -xf - -C "$1"
}

[ -n "$is_mac" ] || tools
scripts/python.sh
first=$root/target/release-build
# The paths of the second build are longer than those of the first: the bytes may hold nothing of either.
second=$root/target/release-build-once-more
if [ -n "$check" ]; then copy_sources "$second/copy-of-the-sources"; fi
for system in "${systems[@]}"; do
    archive=$name-v$version-$system.tar.gz
    step "$system"
    build "$system" "$root" "$first"
    pack "$system" "$first" "$out"
    try_it "$system" "$(built "$system" "$first")"
    if [ -n "$check" ]; then
        build "$system" "$second/copy-of-the-sources" "$second/target"
        pack "$system" "$second/target" "$second/archives"
        cmp "$out/$archive" "$second/archives/$archive" || die "two builds for $system differ"
        good "a build from a copy of the sources has the same bytes"
    fi
    python3 scripts/sbom.py "$(target_of "$system")" "$out/$name-v$version-$system.cdx.json"
done

step "Checksums"
finish "$out"
good "$out: ${#systems[@]} systems, version $version"
if [ ${#left[@]} -gt 0 ]; then
    printf '%s    Not everything was checked:%s\n' "$red$bold" "$plain" >&2
    printf '    NOT CHECKED: %s\n' "${left[@]}" >&2
fi

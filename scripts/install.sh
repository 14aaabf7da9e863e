#!/usr/bin/env bash
# Installs the plugin for the `pulumi` on PATH from the archives beside this script, or from those in FOLDER.
# Needs neither Rust nor a network.
#
# Usage: install.sh [FOLDER]
set -euo pipefail

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

cd "${1:-$(dirname "${BASH_SOURCE[0]}")}"
command -v pulumi >/dev/null || fail "pulumi is not on PATH: install Pulumi (https://www.pulumi.com/docs/install)"
case $(uname -s) in
Linux) os=linux ;;
Darwin) os=darwin ;;
MINGW* | MSYS* | CYGWIN*) os=windows ;;
*) fail "there is no release for $(uname -s)" ;;
esac
case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) fail "there is no release for $(uname -m)" ;;
esac
shopt -s nullglob
archives=(pulumi-resource-databricks-v*-"$os-$arch.tar.gz")
[ ${#archives[@]} -gt 0 ] || fail "there is no archive for $os-$arch in $PWD"
[ ${#archives[@]} -eq 1 ] || fail "there is more than one archive for $os-$arch in $PWD: ${archives[*]}"
archive=${archives[0]}
version=${archive#pulumi-resource-databricks-v}
version=${version%"-$os-$arch.tar.gz"}

[ -f SHA256SUMS ] || fail "SHA256SUMS is missing in $PWD: download it too, so that the archive can be checked"
if command -v sha256sum >/dev/null; then sum=$(sha256sum "$archive"); else sum=$(shasum -a 256 "$archive"); fi
grep -qF "${sum%% *}  $archive" SHA256SUMS || fail "$archive is not what SHA256SUMS says: download it again"
pulumi plugin install resource databricks "$version" --reinstall --file "$archive"
echo "databricks $version is installed. \`pulumi plugin run --kind resource databricks -- doctor\` looks at how it signs in."

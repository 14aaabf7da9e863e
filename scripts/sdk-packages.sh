#!/usr/bin/env bash
# Packs the SDKs in sdk/ for a package registry, into target/sdk-packages: a wheel, an npm package, a Java archive and,
# where the .NET SDK is installed, a NuGet package. Go takes its SDK from the repository.
#
# Usage: scripts/sdk-packages.sh [python] [nodejs] [java] [dotnet]
#   Without a language: all of them, but C# only where `dotnet` is on PATH.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

languages=("$@")
if [ $# -eq 0 ]; then
    languages=(python nodejs java)
    if command -v dotnet >/dev/null; then languages+=(dotnet); else note "not packing the SDK for C#: dotnet is not on PATH"; fi
fi
for language in "${languages[@]}"; do
    case $language in
    python) need_python ;;
    nodejs) need_node ;;
    java) need_java ;;
    dotnet) need dotnet "install the .NET SDK (https://dotnet.microsoft.com)" 8.0 ;;
    *) die "there is nothing to pack for $language; usage: scripts/sdk-packages.sh [python] [nodejs] [java] [dotnet]" ;;
    esac
done

out=$root/target/sdk-packages
mkdir -p "$out"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -R "$root/sdk/." "$copy"

pack_python() { python3 -m pip --disable-pip-version-check wheel --no-deps --wheel-dir "$out" "$copy/python"; }
pack_nodejs() (cd "$copy/nodejs" && npm install --no-package-lock --no-audit --no-fund && npm pack --ignore-scripts --pack-destination "$out")
pack_java() {
    mvn --batch-mode --no-transfer-progress --file "$copy/java/pom.xml" package && cp "$copy"/java/target/*.jar "$out"
}
pack_dotnet() { dotnet pack "$copy/dotnet" --configuration Release --output "$out"; }

for language in "${languages[@]}"; do
    slowly "packing the SDK for $language" "up to a minute" "pack_$language"
done
ls "$out"

#!/usr/bin/env bash
# Copies an example out of this checkout and installs the SDK of its language for it, as its README says.
#
# Usage: scripts/example.sh EXAMPLE FOLDER
#
# EXAMPLE is a folder of examples/; its name begins with its language. Makes FOLDER/examples/EXAMPLE, where `pulumi`
# (YAML, Java) or scripts/inline/run.sh (the others) runs it. What takes long (third-party packages, the built SDK) is
# kept in target/languages and made again when the SDK or the pinned versions change.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 2 ] || die "usage: scripts/example.sh EXAMPLE FOLDER"
name=$1
folder=$2
language=${name%%-*}
cache=$languages_cache/$language
example=$root/examples/$name
[ -d "$example" ] || die "there is no example $name"

need_language "$language"

# copy_sdk NAME: copies sdk/NAME to $cache/sdk, without what building it in its folder has left there.
copy_sdk() {
    rm -rf "$cache" && mkdir -p "$cache/sdk" && cp -R "$root/sdk/$1" "$cache/sdk" &&
        (cd "$cache/sdk/$1" && rm -rf node_modules bin build target ./*.egg-info)
}

# The wheel goes into an environment of its own, together with the packages that the tests pin.
install_python() {
    local pip=("$cache/venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet)
    copy_sdk python && python3 -m venv "$cache/venv" &&
        "${pip[@]}" install --constraint "$root/tests/requirements.txt" setuptools pulumi &&
        "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$cache" "$cache/sdk/python" &&
        "${pip[@]}" install --constraint "$root/tests/requirements.txt" "$cache"/pulumi_databricks-*.whl
}

# A subshell, because it changes the folder. The SDK is compiled with the packages that the example's lock file pins,
# packed, and installed from the pack.
install_typescript() (
    local npm=(npm --no-audit --no-fund --no-update-notifier)
    copy_sdk nodejs && mkdir -p "$cache/examples/typescript" &&
        cp "$example/package.json" "$example/package-lock.json" "$example/.npmrc" "$cache/examples/typescript" &&
        cd "$cache/examples/typescript" && "${npm[@]}" ci --ignore-scripts &&
        ln -s "$PWD/node_modules" ../../sdk/nodejs/node_modules &&
        (cd ../../sdk/nodejs && "${npm[@]}" run build && "${npm[@]}" pack --ignore-scripts --pack-destination "$cache") &&
        "${npm[@]}" install --no-save --ignore-scripts "$cache"/pulumi-databricks-*.tgz
)

# A repository of its own keeps the SDK out of ~/.m2. The second command fetches what the example needs.
install_java() {
    local mvn=(mvn --batch-mode --no-transfer-progress "-Dmaven.repo.local=$languages_cache/maven-repository")
    copy_sdk java && cp -R "$example" "$cache/example" &&
        "${mvn[@]}" --file "$cache/sdk/java/pom.xml" install &&
        "${mvn[@]}" --file "$cache/example/pom.xml" compile exec:help
}

# cached PIN...: runs install_$language unless target/languages holds what it makes from these files and the SDK.
cached() {
    local sources=() file
    while IFS= read -r file; do sources+=("$file"); done < <(
        find "$root/sdk/$sdk" -type f -not -path '*/node_modules/*' -not -path '*/bin/*' -not -path '*/target/*' \
            -not -path '*/build/*' -not -path '*.egg-info/*' -not -name '*.pyc' | LC_ALL=C sort
    )
    sources+=("$@" "$root/scripts/example.sh")
    ready() { fresh "$languages_cache/$language.stamp" "${sources[@]}" && grep -qsxF "$cache" "$cache/location"; }
    if ready; then return; fi
    lock "languages-$language"
    # Another run may have made it meanwhile.
    if ready; then return; fi
    rm -f "$languages_cache/$language.stamp"
    slowly "installing the SDK for $language" "up to a minute the first time" "install_$language"
    # Environments hold absolute paths: one that was copied or moved here does not work and is made again.
    echo "$cache" >"$cache/location"
    stamp "$languages_cache/$language.stamp" "${sources[@]}"
}

mkdir -p "$languages_cache" "$folder/examples"
rm -rf "${folder:?}/examples/$name"
cp -R "$example" "$folder/examples/$name"
# The examples look for the SDKs here.
ln -sfn "$root/sdk" "$folder/sdk"
cd "$folder/examples/$name"
# Pulumi, npm, Maven and people may have left these in the example's folder.
rm -rf venv node_modules bin target Pulumi.*.yaml

case $language in
python)
    sdk=python
    cached "$root/tests/requirements.txt"
    ;;
typescript)
    sdk=nodejs
    cached "$example/package.json" "$example/package-lock.json"
    ln -s "$cache/examples/typescript/node_modules" node_modules
    ;;
java)
    sdk=java
    cached "$example/pom.xml"
    mkdir .mvn
    echo "-Dmaven.repo.local=$languages_cache/maven-repository" >.mvn/maven.config
    ;;
esac

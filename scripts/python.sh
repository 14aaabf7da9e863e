#!/usr/bin/env bash
# Makes the Python environment of the tests in target/venv: the packages of tests/requirements.txt and the SDK of
# sdk/python. Does nothing when the environment is there and neither of the two has changed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 0 ] || die "scripts/python.sh takes no arguments"

venv=$root/target/venv
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet)
packages=("$root/tests/requirements.txt" "$root/scripts/python.sh")
# A virtual environment holds absolute paths: one that was copied or moved here does not work and is made again.
packages_ready() {
    fresh "$venv/packages.stamp" "${packages[@]}" && grep -qsxF "$venv" "$venv/location" && "$venv/bin/python" -c ''
}
sdk_ready() { fresh "$venv/sdk.stamp" "${sdk[@]}"; }

sdk=()
while IFS= read -r file; do sdk+=("$file"); done < <(
    find "$root/sdk" -path "$root/sdk/python/*" -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.json' -o -name '*.toml' \) \
        -not -path '*/build/*' | LC_ALL=C sort
)
if [ ${#sdk[@]} -gt 0 ] && packages_ready && sdk_ready; then exit 0; fi
need_python
lock venv

install_packages() {
    rm -rf "$venv" && python3 -m venv "$venv" && "${pip[@]}" install --requirement "$root/tests/requirements.txt"
}
# The SDK is built from a copy, since setuptools leaves its files in the folder that it builds. Building without
# isolation takes setuptools from the environment, so nothing is downloaded.
install_sdk() {
    local copy
    copy=$(mktemp -d) && cp -R "$root/sdk/python" "$copy/sdk" &&
        "${pip[@]}" install --no-deps --no-build-isolation --force-reinstall "$copy/sdk" && rm -rf "$copy"
}
if ! packages_ready; then
    slowly "installing the tests' Python packages" "about 30 seconds" install_packages
    echo "$venv" >"$venv/location"
    stamp "$venv/packages.stamp" "${packages[@]}"
fi
[ ${#sdk[@]} -gt 0 ] || die "sdk/python is missing: run make sdk"
if ! sdk_ready; then
    slowly "installing the Python SDK" "a few seconds" install_sdk
    stamp "$venv/sdk.stamp" "${sdk[@]}"
fi

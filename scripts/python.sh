#!/usr/bin/env bash
# Makes the Python environment of the tests in target/venv from tests/requirements.txt.
# Does nothing when it is there and the requirements are unchanged.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 0 ] || die "scripts/python.sh takes no arguments"
venv=$root/target/venv
pins=("$root/tests/requirements.txt" "$root/scripts/python.sh")

# A virtual environment holds absolute paths: one that was copied or moved here does not work and is made again.
usable() {
    fresh "$venv/stamp" "${pins[@]}" && grep -qxF "$venv" "$venv/location" && "$venv/bin/python" -c '' 2>/dev/null
}

usable && exit 0
need_python
lock venv
usable && exit 0

rm -rf "$venv"
install() {
    python3 -m venv "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --requirement "$root/tests/requirements.txt"
}
slowly "installing the tests' Python packages" "about 30 seconds" install
echo "$venv" >"$venv/location"
stamp "$venv/stamp" "${pins[@]}"

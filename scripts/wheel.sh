#!/usr/bin/env bash
# Builds the wheel of the local workspace into target/wheels, for this machine's system and processor.
#
# Usage: scripts/wheel.sh [--debug]
#   --debug  puts a debug build of the program in it, which builds faster
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

profile=release
case ${1:-} in
'') ;;
--debug) profile=dev ;;
*) die "scripts/wheel.sh takes no argument except --debug" ;;
esac
need_rust
need_python

project=$root/local-workspace/python
tool=$(sed -n 's/^requires = \["\(maturin==[0-9.]*\)"\]$/\1/p' "$project/pyproject.toml")
[ -n "$tool" ] || die "$project/pyproject.toml does not pin maturin"
venv=$root/target/wheel-tool
lock wheel
if ! fresh "$venv/stamp" "$project/pyproject.toml" || ! "$venv/bin/python" -c '' 2>/dev/null; then
    install_tool() {
        rm -rf "$venv" && python3 -m venv "$venv" &&
            "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet install "$tool"
    }
    slowly "installing $tool" "a few seconds" install_tool
    stamp "$venv/stamp" "$project/pyproject.toml"
fi
rm -rf "$root/target/wheels"
# The wheel is for this machine: no check of its libraries against older systems.
build() {
    CARGO_TARGET_DIR=$cargo_target "$venv/bin/python" -m maturin build --locked --profile "$profile" --auditwheel skip \
        --out "$root/target/wheels"
}
cd "$project"
slowly "building the wheel" "a minute or two, once" build
for wheel in "$root"/target/wheels/*.whl; do good "${wheel#"$root"/}"; done

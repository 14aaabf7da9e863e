#!/usr/bin/env bash
# Checks what the plugin is built from: licences, sources, banned crates, build scripts, advisories, and the oldest Rust
# that it promises to build with. `--full` installs cargo-deny and that oldest Rust, and builds with it; without
# `--full`, cargo-deny is used only where it is installed already, and nothing is built.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deny_version=0.20.2
full=
case ${1:-} in
'') ;;
--full) full=1 ;;
*) die "scripts/supply-chain.sh takes no argument except --full" ;;
esac
need_rust
need_python
cd "$root"

# unchecked TEXT: reports what this run does not prove, and counts it for the summary at the end.
left=()
unchecked() {
    left+=("$*")
    printf '%s    NOT CHECKED: %s%s\n' "$red$bold" "$*" "$plain" >&2
}

step "Oldest Rust"
oldest=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
[ -n "$oldest" ] || die "Cargo.toml has no rust-version"
cargo metadata --format-version 1 --locked | python3 -c '
import json, sys
oldest = sys.argv[1]
number = lambda version: [int(part) for part in version.split(".")]
packages = json.load(sys.stdin)["packages"]
newer = [p for p in packages if p["rust_version"] and number(p["rust_version"]) > number(oldest) + [0]]
for p in newer:
    print("error: {name} {version} needs Rust {rust_version}, and Cargo.toml promises " .format(**p) + oldest, file=sys.stderr)
sys.exit(bool(newer))
' "$oldest"
good "no dependency requires a newer Rust than $oldest"
if [ -n "$full" ] && command -v rustup >/dev/null && ! rustup toolchain list | grep -q "^$oldest"; then
    rustup toolchain install "$oldest" --profile minimal || true
fi
if command -v rustup >/dev/null && rustup toolchain list | grep -q "^$oldest"; then
    if [ -n "$full" ]; then
        CARGO_TARGET_DIR=$root/target/oldest-rust run cargo "+$oldest" check --workspace --locked
        good "builds with Rust $oldest"
    else
        unchecked "a build with Rust $oldest; run scripts/supply-chain.sh --full"
    fi
else
    unchecked "a build with Rust $oldest, which is not installed; run scripts/supply-chain.sh --full"
fi

step "Licences, sources, banned crates and build scripts"
deny=$(command -v cargo-deny || true)
[ -n "$deny" ] || deny=$root/target/tools/bin/cargo-deny
if [ -n "$full" ] && [ ! -x "$deny" ]; then
    slowly "cargo install cargo-deny" "several minutes, once" \
        cargo install --debug --locked "cargo-deny@$deny_version" --root target/tools --target-dir target/tools/build
fi
if [ -x "$deny" ]; then
    run "$deny" --workspace --config .cargo/deny.toml --log-level error check --hide-inclusion-graph bans licenses sources
    good "all as .cargo/deny.toml allows"

    step "Advisories"
    if "$deny" --config .cargo/deny.toml fetch db 2>/dev/null; then
        run "$deny" --workspace --config .cargo/deny.toml check --disable-fetch advisories
        good "no known vulnerability, and no yanked version"
    else
        unchecked "known vulnerabilities: the database at github.com/rustsec/advisory-db cannot be reached from here"
    fi
else
    unchecked "licences, sources, banned crates, build scripts and advisories: cargo-deny is not installed; run scripts/supply-chain.sh --full"
fi

if [ "${#left[@]}" -gt 0 ]; then
    printf '%s%d of the checks above did not run; each NOT CHECKED line above says why, or how to run it%s\n' "$red$bold" "${#left[@]}" "$plain" >&2
fi

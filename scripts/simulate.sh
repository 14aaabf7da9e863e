#!/usr/bin/env bash
# Lives through years of rotations with overlap, in which the engine and the plugin are killed again and again: many seeds
# over raw gRPC, and two whole years on the real engine, with an `up` every week, for every kind of credential and for
# twenty tokens in one stack. The test suite covers some weeks of this. The script takes half an hour.
#
# Usage: [SEEDS=0-39] [SEED=4] [WORKERS=2] scripts/simulate.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo build --workspace --locked
scripts/engine.sh
scripts/python.sh
export PLUGIN_BIN=$cargo_target/debug/pulumi-resource-databricks
export LOCAL_WORKSPACE_BIN=$cargo_target/debug/databricks-local-workspace
export ENGINE_BIN_DIR=$engine_bin
export SEEDS=${SEEDS:-0-39} SEED=${SEED:-4} FULL_YEARS=1
# -rP prints what each test has counted.
target/venv/bin/python -m pytest --numprocesses "${WORKERS:-2}" -rP \
    tests/python/test_rotation_engine.py::test_years_with_deaths tests/python/test_rotation_life.py

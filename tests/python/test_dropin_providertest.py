"""Pulumi's own test library for providers, in tests/dropin/providertest, against the plugin."""

import os
import subprocess

import pytest
import support_dropin as dropin
from conftest import engine_bin_dir, local_workspace_bin, plugin_bin


# With nothing cached, it compiles parts of the engine first.
@pytest.mark.timeout(900)
def test_providertest():
    programs = {
        "PLUGIN_BIN": str(plugin_bin()),
        "LOCAL_WORKSPACE_BIN": str(local_workspace_bin()),
        "ENGINE_BIN_DIR": str(engine_bin_dir()),
    }
    outcome = subprocess.run(
        ["go", "test", "-count=1", "-timeout=5m", "./..."],
        cwd=dropin.DATA / "providertest", env=os.environ | programs, capture_output=True, text=True, timeout=840,
    )
    assert outcome.returncode == 0, outcome.stdout[-20_000:] + outcome.stderr[-5_000:]

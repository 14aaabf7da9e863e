"""Pulumi's own test library for providers, in tests/dropin/providertest, against the plugin."""

import os
import subprocess

import pytest
import support_dropin as dropin
from conftest import engine_bin_dir, engine_environment, local_workspace_bin, plugin_bin


def compiled():
    """The tests as a program. Linking them takes half a minute, which is spared as long as nothing has changed."""
    source, folder = dropin.DATA / "providertest", dropin.BUILT / "providertest"
    files = [source / name for name in ("go.mod", "go.sum", "providertest_test.go")]
    pin = "".join(path.read_text(encoding="utf-8") for path in files)
    program, stamp = folder / "providertest.test", folder / "stamp"
    with dropin.only_one("providertest"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != pin:
            folder.mkdir(exist_ok=True)
            built = subprocess.run(
                ["go", "test", "-c", "-o", program, "."], cwd=source, capture_output=True, text=True, timeout=840
            )
            assert built.returncode == 0, built.stderr[-5_000:]
            stamp.write_text(pin, encoding="utf-8")
    return program


# With nothing cached, the test compiles parts of the engine first.
@pytest.mark.timeout(900)
def test_providertest():
    programs = {
        "PLUGIN_BIN": str(plugin_bin()),
        "LOCAL_WORKSPACE_BIN": str(local_workspace_bin()),
        "ENGINE_BIN_DIR": str(engine_bin_dir()),
    }
    outcome = subprocess.run(
        [compiled(), "-test.timeout=5m", "-test.v"],
        cwd=dropin.DATA / "providertest", env=os.environ | engine_environment() | programs, capture_output=True, text=True,
        timeout=840,
    )
    assert outcome.returncode == 0, outcome.stdout[-20_000:] + outcome.stderr[-5_000:]
    assert "--- PASS: " in outcome.stdout, outcome.stdout

"""Takes the picture of the local workspace's page for its README, in a headless Chromium.

Usage: target/venv/bin/python scripts/page_picture.py [--dark] [--width N] [FILE]

LOCAL_WORKSPACE_BIN names the program, target/debug/databricks-local-workspace if it is not set.
"""

import argparse
import base64
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/python"))
os.environ.setdefault("LOCAL_WORKSPACE_BIN", str(ROOT / "target/debug/databricks-local-workspace"))

from conftest import LocalWorkspace, wait_for  # noqa: E402
from test_workspace_page import DAY_MS, Browser  # noqa: E402


def live(local):
    """Gives the workspace something of every kind that the page shows."""
    robot = local.control("/service-principals", {"application_id": "nightly-job", "display_name": "Nightly job"})
    local.mint(comment="dashboards", lifetime_seconds=30 * 86_400)
    local.mint(comment="ingest", lifetime_seconds=7 * 86_400)
    secrets = f"/api/2.0/accounts/servicePrincipals/{robot['id']}/credentials/secrets"
    local.call("POST", secrets, {"lifetime": "2592000s"}, token=local.token)
    local.control("/clock", {"advance_ms": 8 * DAY_MS})
    local.fault("/token/create", {"status": 429, "retry_after": "2"})
    local.fault("/token/list", {"drop": "after"}, nth=2)
    local.call("POST", "/api/2.0/token/create", {"comment": "dashboards, next"}, token=local.token)
    _, value = local.mint(comment="dashboards, next", lifetime_seconds=30 * 86_400)
    local.call("GET", "/api/2.0/token/list", token=value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=pathlib.Path, default=ROOT / "local-workspace/page.png")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1040)
    arguments = parser.parse_args()
    local = LocalWorkspace()
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            live(local)
            browser.emulate("dark" if arguments.dark else "light", arguments.width)
            browser.go(local.host + "/")
            wait_for(lambda: "/token/list" in browser.text("#requests"), what="the page")
            whole = {"format": "png", "captureBeyondViewport": True}
            shot = browser.call("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": whole})
            arguments.file.write_bytes(base64.b64decode(shot["data"]))
        finally:
            browser.stop()
            local.stop()


if __name__ == "__main__":
    main()

"""The web page of the local workspace, in a browser and by the keyboard alone.

It needs Chromium and its driver (Debian's packages chromium and chromium-driver).
"""

import contextlib
import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import LocalWorkspace, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
DAY_MS = 24 * 60 * 60 * 1000
KEYS = {"control": "\ue009", "tab": "\ue004", "enter": "\ue007", "space": "\ue00d"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="the page of the local workspace: chromium and chromedriver are not on PATH",
    ),
]


class Browser:
    """A headless Chromium, controlled by the WebDriver protocol."""

    _opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __init__(self, profile, *arguments):
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        said = ""
        while "on port" not in said or "successfully" not in said:
            said = self.driver.stdout.readline()
            assert said, "chromedriver did not start"
        self.url = f"http://127.0.0.1:{said.rstrip().rstrip('.').rsplit(' ', 1)[1]}"
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}", *arguments,
        ]  # fmt: skip
        options = {"binary": CHROMIUM, "args": flags}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = ""
        started = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = "/session/" + started["sessionId"]

    def call(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.url + self.session + path, data=data, method=method)
        try:
            with self._opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                pytest.fail(f"{path}: {json.load(error)['value']['message']}")

    def stop(self):
        with contextlib.suppress(Exception):
            self.call("DELETE", "")
        self.driver.terminate()
        self.driver.wait(timeout=20)
        self.driver.stdout.close()

    def go(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        return self.call("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def emulate(self, scheme, width):
        """Emulates a colour scheme of the system, and a width of the window."""
        for command, params in (
            ("setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
            ("setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}),
        ):
            self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation." + command, "params": params})

    def press(self, *keys):
        """Presses keys one after the other; the control key is held until the end."""
        actions = []
        for key in keys:
            actions.append({"type": "keyDown", "value": KEYS.get(key, key)})
            if key != "control":
                actions.append({"type": "keyUp", "value": KEYS.get(key, key)})
        if "control" in keys:
            actions.append({"type": "keyUp", "value": KEYS["control"]})
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def tab_to(self, name):
        """Presses Tab until the focus is on what has this name."""
        seen = []
        for _ in range(60):
            self.press("tab")
            at = self.run(
                "const it = document.activeElement; return it.getAttribute('aria-label') || it.innerText || it.id"
            )
            if at == name:
                return
            seen.append(at)
        pytest.fail(f"the keyboard does not lead to {name!r}, but to {seen}")


@pytest.fixture(scope="module")
def local():
    workspace = LocalWorkspace()
    yield workspace
    workspace.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory, local):
    # The name stands for one that somebody has made resolve to this machine.
    it = Browser(tmp_path_factory.mktemp("profile"), "--host-resolver-rules=MAP rebound.example.com 127.0.0.1")
    yield it
    it.stop()


@pytest.fixture
def page(local, browser):
    local.reset()
    browser.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})
    browser.go(local.host + "/")
    wait_for(lambda: "UTC" in browser.text("#clock"), what="the page")
    return browser


def test_what_happens_is_seen_live(page, local):
    assert "None yet" in page.text("main")
    _, value = local.mint(comment="dashboards", lifetime_seconds=3600)
    local.control("/service-principals", {"application_id": "robot", "display_name": "Nightly job"})
    local.fault("/token/list", {"status": 503}, times=0)
    assert local.call("GET", "/api/2.0/token/list", token=value)[0] == 503
    wait_for(lambda: "dashboards" in page.text("#tokens"), what="the token")
    wait_for(lambda: "/api/2.0/token/list" in page.text("#requests"), what="the request")
    assert "token dashboards" in page.text("#requests") and "503" in page.text("#requests")
    assert "Nightly job" in page.text("#principals") and '"status":503' in page.text("#faults")
    everything = page.run("return document.documentElement.outerHTML")
    assert value not in everything and local.token not in everything
    local.advance(7200)
    wait_for(lambda: "expired" in page.text("#tokens"), what="the end of the token")
    assert page.call("POST", "/se/log", {"type": "browser"}) == []


def test_the_keyboard_is_enough(page, local):
    token_id, value = local.mint(comment="dashboards")
    wait_for(lambda: "dashboards" in page.text("#tokens"), what="the token")
    before = local.control("/state")["now_ms"]
    page.tab_to("+7 days")
    page.press("enter")
    wait_for(lambda: "forward" in page.text("#message"), what="the message")
    assert 7 * DAY_MS <= local.control("/state")["now_ms"] - before < 8 * DAY_MS

    page.tab_to("Revoke dashboards")
    page.press("space")
    wait_for(lambda: "revoked" in page.text("#tokens"), what="the revocation")
    assert not local.accepts(value)
    # Changes of the page leave the focus where it is.
    time.sleep(1.5)
    assert page.run("return document.activeElement.getAttribute('aria-label')") == "Revoke dashboards"

    page.tab_to("Add the fault")
    page.press("enter")
    wait_for(lambda: local.control("/faults"), what="the fault")
    page.run("window.scrollTo(0, 0); document.activeElement.blur()")
    page.tab_to("Remove all faults")
    page.press("enter")
    wait_for(lambda: not local.control("/faults"), what="the end of the faults")


def test_forms_are_sent_from_their_fields(page, local):
    page.tab_to("set-time")
    page.run("document.activeElement.value = '2031-05-06T07:08'")
    page.press("enter")
    wait_for(lambda: page.text("#clock").startswith("2031-05-06 07:08"), what="the time that was set")
    page.tab_to("fault")
    page.press("control", "enter")
    wait_for(lambda: local.control("/faults"), what="the fault")
    # Text that is no fault is refused: the faults that are there stay, and so does what was typed.
    page.run("document.getElementById('fault').value = '{'")
    page.press("control", "enter")
    wait_for(lambda: "is not JSON" in page.text("#message"), what="the refusal")
    assert page.run("return document.activeElement.id + document.activeElement.value") == "fault{"
    assert len(local.control("/faults")) == 1


def test_a_reset_elsewhere_is_seen(page, local):
    local.mint(comment="dashboards")
    wait_for(lambda: "/api/2.0/token/create" in page.text("#requests"), what="the request")
    local.reset()
    wait_for(lambda: "/api/2.0/token/create" not in page.text("#requests"), what="the end of the request")
    assert "dashboards" not in page.text("main")
    local.call("GET", "/api/2.0/token/list", token=local.token)
    wait_for(lambda: "/api/2.0/token/list" in page.text("#requests"), what="the next request")


def test_the_focus_is_seen(page):
    """It is seen on everything that the keyboard reaches, in both colour schemes, and also in a narrow window."""
    for scheme in ("light", "dark"):
        page.emulate(scheme, width=420)
        assert page.run("return document.documentElement.scrollWidth <= innerWidth"), scheme
        # The focus starts at the beginning of the page.
        page.call("POST", "/refresh")
        for _ in range(12):
            page.press("tab")
            at, outline = page.run(
                "const it = document.activeElement; return [it.outerHTML.slice(0, 60), getComputedStyle(it).outline]"
            )
            assert "3px" in outline and "solid" in outline, (scheme, at, outline)
        black_or_white = page.run("return getComputedStyle(document.body).color")
        assert black_or_white == {"light": "rgb(0, 0, 0)", "dark": "rgb(255, 255, 255)"}[scheme]


def test_controls_have_names(page):
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select, textarea')]"
        ".filter((it) => !(it.innerText || it.labels?.length || it.getAttribute('aria-label')))"
        ".map((it) => it.outerHTML)"
    )
    assert nameless == []


FETCH = """
    const [url, options, done] = arguments;
    const read = (answer) => answer.text().then((text) => done([answer.status, text]));
    fetch(url, options).then(read, (error) => done(String(error)));
"""


def test_another_page_gets_nowhere(page, local):
    """A page of another origin, such as any that is open in the same browser."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page.go(f"http://127.0.0.1:{server.server_port}/")
        control = local.host + "/local/control"
        before = local.control("/state")["now_ms"]
        body = json.dumps({"advance_ms": 400 * DAY_MS})
        for options in (
            {"method": "POST", "body": body},
            {"method": "POST", "body": body, "mode": "no-cors"},
            {"method": "POST", "body": body, "headers": {"x-local-workspace-page": "guess"}},
        ):
            page.run_async(FETCH, control + "/clock", options)
        assert "Failed to fetch" in page.run_async(FETCH, control + "/state", {})
        assert "Failed to fetch" in page.run_async(FETCH, local.host + "/", {})
        assert local.control("/state")["now_ms"] - before < DAY_MS
    finally:
        server.shutdown()
        server.server_close()


def test_a_rebound_name_gets_nowhere(page, local):
    port = local.host.rsplit(":", 1)[1]
    page.go(f"http://rebound.example.com:{port}/")
    assert "not a name of this workspace" in page.text("body") and "x-local-workspace-page" not in page.text("body")
    status, text = page.run_async(FETCH, "/local/control/state", {})
    assert status == 403 and "not a name of this workspace" in text
    status, _ = page.run_async(FETCH, "/local/control/reset", {"method": "POST", "body": "{}"})
    assert status == 403

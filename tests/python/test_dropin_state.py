"""Stacks of the official plugin go on under ours: nothing changes, a refresh keeps them, destroy revokes."""

import sys

import pytest
import support_dropin as dropin
from conftest import is_secret, plugin_bin

sys.path.insert(0, str(dropin.DATA))
import states  # noqa: E402

WORKSPACE = "1234567890123456"
NAMES = list(states.variants(WORKSPACE))


@pytest.fixture(scope="module")
def local():
    # Without a limit, tokens without a lifetime never expire.
    with dropin.workspace("--max-token-lifetime-days", "0") as it:
        yield it


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return dropin.python_worker(tmp_path_factory)


class Official:
    """A stack of these variants as the official plugin left it, with a live token for each."""

    def __init__(self, worker, local, folder, names):
        tokens, programs = {}, {}
        self.values, self.ids = {}, {}
        variants = states.variants(WORKSPACE)
        for name in names:
            variant = variants[name]
            id, value = local.mint(**variant.made)
            live = local.by_id()[id]
            self.values[name], self.ids[name] = value, id
            inputs, outputs, program = (
                states.outputs_of(stated, live, value, WORKSPACE)
                for stated in (variant.inputs, variant.outputs, variant.program)
            )
            tokens[name] = (id, variant.provider, inputs, outputs)
            programs[name] = {"arguments": program}
            if not variant.provider.startswith("default"):
                programs[name]["provider"] = variant.provider
        sign_in = {"host": local.host, "token": states.secret(f'"{local.token}"')}
        shapes = {"debugHeaders": "false", "rateLimit": "0", "scopes": '["sql","all-apis"]', "azureUseMsi": ""}
        providers = {
            "default_1_106_0": {"version": "1.106.0"},
            "default_1_118_0": {"version": "1.118.0"},
            "default": {"host": local.host},
            "explicit": sign_in | {"version": "1.106.0"},
            "shapes": sign_in | shapes | {"version": "1.118.0"},
        }
        stated = {"host": local.host, "token": local.token}
        environment = dropin.base_environment(folder, plugin_bin()) | local.environment()
        self.before = {name: (inputs, outputs) for name, (_, _, inputs, outputs) in tokens.items()}
        self.stack = dropin.Stack(worker, folder, "tokens.py", environment, tokens=programs, providers={
            "explicit": stated,
            "shapes": stated | {"debug_headers": False, "rate_limit": 0, "scopes": ["sql", "all-apis"]},
        })
        self.stack.init()
        self.stack.load(states.deployment(self.stack.project, self.stack.name, providers, tokens))


class Story(Official):
    """What each command in turn makes of a stack with every variant."""

    def __init__(self, worker, local, folder):
        super().__init__(worker, local, folder, NAMES)
        stack = self.stack
        self.preview = stack.run("preview", expect_no_changes=True)
        self.up = stack.run("up", expect_no_changes=True)
        self.after_up = stack.tokens(secrets=True)
        local.forget_requests()
        self.refresh = stack.run("refresh")
        self.lists = len(local.requests("/token/list"))
        self.after_refresh = stack.tokens(secrets=True)
        self.again = stack.run("up", expect_no_changes=True)
        self.live_before_destroy = set(local.live())
        self.destroy = stack.run("destroy")
        self.live_after_destroy = set(local.live())


@pytest.fixture(scope="module")
def story(worker, local, tmp_path_factory):
    return Story(worker, local, tmp_path_factory.mktemp("official"))


def succeeded(result):
    assert result.ok, result.error
    return result


@pytest.mark.parametrize("name", NAMES)
def test_preview_changes_nothing(story, name):
    assert (story.preview.ops(name), story.preview.step(name)["diff"]) == (["same"], {})


@pytest.mark.parametrize("name", NAMES)
def test_up_changes_nothing(story, name):
    assert (story.up.ops(name), story.up.step(name)["diff"]) == (["same"], {})


def test_nothing_at_all_changes(story):
    for result in (story.preview, story.up, story.again):
        succeeded(result)
        # The default providers of other SDK versions go; they are no resources of the program.
        ops = {urn: step["ops"] for urn, step in result.steps.items() if "::default" not in urn}
        assert {op for listed in ops.values() for op in listed} == {"same"}, ops


@pytest.mark.parametrize("name", NAMES)
def test_up_keeps_what_the_official_plugin_needs_to_go_on(story, name):
    """Outputs that did not change stay as they were, with the bookkeeping that fits them."""
    _, outputs = story.before[name]
    after = story.after_up[name]
    assert dropin.revealed(after["outputs"]) == dropin.revealed(outputs)
    assert after["id"] == story.ids[name]
    assert "__defaults" not in str(after.get("inputs"))


@pytest.mark.parametrize("name", NAMES)
def test_refresh_changes_nothing_that_matters(story, name):
    succeeded(story.refresh)
    assert story.refresh.outcome(name) == ("same", {})
    before, after = story.after_up[name], story.after_refresh[name]
    old, new = dropin.revealed(before["outputs"]), dropin.revealed(after["outputs"])
    # Bookkeeping that may no longer fit is left out, so that the official plugin works the state out anew.
    assert not [key for key in new if key.startswith("__")]
    assert new["tokenValue"] == (old["tokenValue"] or "")
    assert is_secret(after["outputs"]["tokenValue"])
    assert new["id"] == new["tokenId"] == story.ids[name]
    assert new["providerConfig"] == {"workspaceId": WORKSPACE}
    stated = {key: value for key, value in dropin.revealed(before.get("inputs", {})).items() if value is not None}
    assert dropin.revealed(after.get("inputs", {})) == stated
    for key in ("comment", "lifetimeSeconds", "creationTime", "expiryTime"):
        expected = stated.get(key) if key == "lifetimeSeconds" else old.get(key)
        # An empty comment is none.
        assert (new.get(key) or None) == (expected or None), key


def test_up_after_a_refresh_changes_nothing(story):
    succeeded(story.again)
    assert {name: story.again.ops(name) for name in NAMES} == {name: ["same"] for name in NAMES}


def test_a_refresh_asks_seldom(story):
    assert story.lists < len(NAMES)


def test_explicit_providers_stay(story):
    for name in ("explicit", "shapes"):
        for result in (story.preview, story.up, story.again):
            assert result.ops(name) == ["same"]


def test_no_value_shows(story):
    for result in (story.preview, story.up, story.refresh, story.again, story.destroy):
        for value in [*story.values.values(), "dapi-of-the-delta"]:
            assert value not in result.everything()


def test_destroy_revokes(story):
    succeeded(story.destroy)
    assert story.live_before_destroy >= set(story.ids.values())
    assert story.live_after_destroy == set()


SOME = ["measured", "no-arguments", "oldest", "imported", "on-explicit"]


def test_refresh_as_the_first_command(worker, local, tmp_path):
    """It configures the plugin from the state alone."""
    it = Official(worker, local, tmp_path, SOME)
    refreshed = it.stack.refresh()
    assert {name: refreshed.outcome(name) for name in SOME} == {name: ("same", {}) for name in SOME}
    succeeded(it.stack.run("up", expect_no_changes=True))


def test_destroy_as_the_first_command(worker, local, tmp_path):
    it = Official(worker, local, tmp_path, SOME)
    assert set(it.ids.values()) <= set(local.live())
    it.stack.destroy()
    assert set(it.ids.values()).isdisjoint(local.live())


def test_a_change_after_the_switch_replaces(worker, local, tmp_path):
    """The new state has none of the bookkeeping of the official plugin."""
    it = Official(worker, local, tmp_path, ["measured"])
    it.stack.arguments["tokens"]["measured"]["arguments"]["comment"] = "changed"
    up = it.stack.up()
    assert up.step("measured")["diff"] == {"comment": "update-replace"}
    after = it.stack.tokens(secrets=True)["measured"]
    assert it.ids["measured"] not in local.live() and after["id"] in local.live()
    assert after["inputs"] == {"comment": "changed", "lifetimeSeconds": 8640000}
    assert not [key for key in after["outputs"] if key.startswith("__")]
    it.stack.unchanged()

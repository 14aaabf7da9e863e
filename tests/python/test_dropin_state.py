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


class Story:
    """One stack that holds every variant, and what each command in turn made of it."""

    def __init__(self, worker, local, folder):
        tokens, programs = {}, {}
        self.values, self.ids = {}, {}
        for name, variant in states.variants(WORKSPACE).items():
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
        stack = dropin.Stack(worker, folder, "tokens.py", environment, tokens=programs, providers={
            "explicit": stated,
            "shapes": stated | {"debug_headers": False, "rate_limit": 0, "scopes": ["sql", "all-apis"]},
        })
        stack.init()
        stack.load(states.deployment(stack.project, stack.name, providers, tokens))
        imported = stack.tokens()
        self.secrets = {name: (imported[name]["inputs"], imported[name]["outputs"]) for name in tokens}
        self.preview = stack.run("preview", expect_no_changes=True)
        self.up = stack.run("up", expect_no_changes=True)
        self.after_up = stack.tokens(secrets=True)
        local.forget_requests()
        self.refresh = stack.run("refresh")
        self.lists = len(local.requests("/token/list"))
        self.after_refresh = stack.tokens(secrets=True)
        self.again = stack.run("up", expect_no_changes=True)
        self.providers = {n: it for n, it in stack.resources(True).items() if it["type"] == states.PROVIDER}
        self.live_before_destroy = set(local.live())
        local.forget_requests()
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

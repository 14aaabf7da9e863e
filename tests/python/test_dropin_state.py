"""Stacks of the official plugin go on under ours: nothing changes, a refresh keeps them, destroy revokes."""

import sys

import pytest
import support_dropin as dropin
from conftest import CREATED_BY, is_secret, plugin_bin

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

    def __init__(self, worker, local, folder, names, amend=lambda resources: None):
        tokens, programs = {}, {}
        self.values, self.ids, self.programs = {}, {}, {}
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
            tokens[name] = (id, variant.provider, inputs, outputs, variant.entry)
            programs[name] = {"arguments": program}
            self.programs[name] = states.in_state(program)
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
        self.before = {name: (inputs, outputs) for name, (_, _, inputs, outputs, _) in tokens.items()}
        self.stack = dropin.Stack(worker, folder, "tokens.py", environment, tokens=programs, providers={
            "explicit": stated,
            "shapes": stated | {"debug_headers": False, "rate_limit": 0, "scopes": ["sql", "all-apis"]},
        })
        self.stack.init()
        deployment = states.deployment(self.stack.project, self.stack.name, providers, tokens)
        amend(deployment["deployment"]["resources"])
        self.stack.load(deployment)


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
        # The default providers of other SDK versions are removed; they are no resources of the program.
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
    assert sorted(key for key in new if key.startswith("__")) == CREATED_BY
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


@pytest.mark.parametrize("name", NAMES)
def test_going_back_changes_nothing_that_staying_would_not_have(story, name):
    before = states.official_changes(dropin.revealed(story.before[name][1]), story.programs[name])
    for after in (story.after_up[name], story.after_refresh[name]):
        assert states.official_changes(dropin.revealed(after["outputs"]), story.programs[name]) <= before
    if name != "imported-lifetime-stated":
        assert not before


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
    """A refresh configures the plugin from the state alone."""
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
    assert sorted(key for key in after["outputs"] if key.startswith("__")) == CREATED_BY
    assert not states.official_changes(after["outputs"], after["inputs"])
    it.stack.unchanged()


def test_up_with_refresh_as_the_first_command(worker, local, tmp_path):
    it = Official(worker, local, tmp_path, SOME)
    for operation in ("preview", "up"):
        result = succeeded(it.stack.run(operation, refresh=True, expect_no_changes=True))
        assert {op for name in SOME for op in result.ops(name)} <= {"same", "refresh"}
    it.stack.unchanged()


def test_a_create_that_the_official_plugin_did_not_finish(worker, local, tmp_path):
    """It made the token and could not read it afterwards. The engine updates such a resource though nothing changed."""

    def amend(resources):
        token = resources[-1]
        token["initErrors"] = ["1 error occurred:\n\t* cannot read token: deadline exceeded"]
        for name in ("creationTime", "expiryTime", "tokenId", "providerConfig"):
            del token["outputs"][name]

    it = Official(worker, local, tmp_path, ["measured"], amend)
    local.forget_requests()
    up = it.stack.up()
    assert up.ops("measured") == ["update"]
    assert local.operations() == []
    token = it.stack.tokens(secrets=True)["measured"]
    live = local.by_id()[it.ids["measured"]]
    assert not token.get("initErrors")
    outputs = dropin.revealed(token["outputs"])
    for key in ("autoscopeState", "expiresAt", *CREATED_BY):
        assert outputs.pop(key)
    assert outputs == {
        "comment": "hello", "lifetimeSeconds": 8640000, "providerConfig": {"workspaceId": WORKSPACE},
        "creationTime": live["creation_time"], "expiryTime": live["expiry_time"], "id": live["id"],
        "tokenId": live["id"], "tokenValue": it.values["measured"],
    }
    it.stack.unchanged()


def test_a_replacement_that_the_official_plugin_did_not_finish(worker, local, tmp_path):
    """The new token is there, and the old one is not revoked yet."""
    old, _ = local.mint(comment="old")

    def amend(resources):
        token = resources[-1]
        resources.append(token | {
            "id": old, "delete": True, "inputs": token["inputs"] | {"comment": "old"},
            "outputs": token["outputs"] | {"comment": "old", "id": old, "tokenId": old},
        })

    it = Official(worker, local, tmp_path, ["measured"], amend)
    local.forget_requests()
    it.stack.up()
    assert local.operations() == ["delete"]
    assert old not in local.live() and it.ids["measured"] in local.live()
    it.stack.unchanged()


def test_a_token_that_is_only_read(worker, local, tmp_path):
    """`Token.get` of a token that others manage."""

    def amend(resources):
        token = resources[-1]
        token |= {"external": True, "inputs": {}}
        token["outputs"] |= {"tokenValue": states.secret('""'), "lifetimeSeconds": None}

    it = Official(worker, local, tmp_path, ["measured"], amend)
    it.stack.arguments["tokens"] = {"measured": {"get": it.ids["measured"]}}
    before = dropin.revealed(it.stack.tokens(secrets=True)["measured"]["outputs"])
    up = succeeded(it.stack.run("up", expect_no_changes=True))
    assert up.ops("measured") == ["read"]
    after = dropin.revealed(it.stack.tokens(secrets=True)["measured"]["outputs"])
    del before["__pulumi_raw_state_delta"], before["lifetimeSeconds"], after["autoscopeState"]
    for key in ("expiresAt", *CREATED_BY):
        del after[key]
    assert after == before
    it.stack.destroy()
    assert it.ids["measured"] in local.live()

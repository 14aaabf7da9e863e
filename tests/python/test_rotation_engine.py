"""Rotation with overlap on the real engine: what users see of it, and some of the years of test_rotation_life.py with
processes that are killed. `make simulate` runs two whole years of each kind.
"""

import json
import os
import random

import pytest
from conftest import (
    SECRET_SIGNATURE,
    SIGNATURE,
    TOKEN_TYPE,
    UNKNOWN,
    LocalWorkspace,
    Pulumi,
    fingerprint,
)
from support_rotation import (
    HOUR,
    KINDS,
    LIFETIME,
    OVERLAP,
    TOKEN,
    WINDOW,
    RealEngine,
    Resource,
    Watch,
    robot,
    rotating,
    two_years,
)

# Whether every week has an `up`, or mostly those in which something is due.
FULL = bool(os.environ.get("FULL_YEARS"))


def detailed(step):
    """What changed, such as {"comment": "update"}."""
    return {path: change["diffKind"] for path, change in step["detailedDiff"].items()}


class Two:
    """A stack with a token that rotates, and one whose comment has the id of the first, and so depends on it."""

    def __init__(self, pulumi, workspace, **more):
        self.pulumi, self.workspace = pulumi, workspace
        self.write(**more)
        pulumi.init()
        pulumi.up()

    def write(self, **more):
        self.pulumi.write(
            {
                "t": {"type": "databricks:Token", "properties": rotating(TOKEN, "credential", **more)},
                # Its own rotation is stated, so that the comment changes in place.
                "user": {
                    "type": "databricks:Token",
                    "properties": {"comment": "uses ${t.tokenId}", "rotateWhenChanged": {"asked": "1"}},
                },
            },
            {"id": "${t.id}", "tokenId": "${t.tokenId}", "value": "${t.tokenValue}"},
        )

    def steps(self, result, kind="resourcePreEvent"):
        """What happens to each of the two."""
        steps = [event[kind]["metadata"] for event in result.events if kind in event]
        return {step["urn"].split("::")[-1]: step for step in steps if step["type"] == TOKEN_TYPE}

    def ops(self, result):
        return {name: step["op"] for name, step in self.steps(result).items()}

    def state(self, name="t"):
        (found,) = [
            it for it in self.pulumi.export()["deployment"]["resources"] if it["urn"].endswith(f"{TOKEN_TYPE}::{name}")
        ]
        return found

    def live(self):
        """Ids of the tokens that the first resource made and that work."""
        return [it["id"] for it in self.workspace.tokens() if it["live"] and not it["comment"].startswith("uses ")]

    def comment_of_user(self):
        (user,) = [it["comment"] for it in self.workspace.tokens() if it["comment"].startswith("uses ")]
        return user


def test_a_rotation(pulumi, workspace):
    two = Two(pulumi, workspace)
    first = pulumi.outputs()
    workspace.advance(LIFETIME - WINDOW + HOUR)

    preview = pulumi.preview()
    assert two.ops(preview) == {"t": "update", "user": "update"}
    assert detailed(two.steps(preview)["t"]) == {"expiryTime": "update"}
    planned = two.steps(preview, "resOutputsEvent")["t"]["new"]["outputs"]
    for name in ("tokenId", "expiryTime", "creationTime", "expiresAt", "rotatesAt", "previousRevokeTime"):
        assert planned[name] == UNKNOWN, name
    assert planned["previousTokenId"] == first["tokenId"]
    for name in ("tokenValue", "previousTokenValue"):
        assert planned[name][SIGNATURE] == SECRET_SIGNATURE, name
    assert two.live() == [first["id"]]

    # The dependent has the new id in the run that rotates, and the old token lives on.
    assert two.ops(pulumi.up()) == {"t": "update", "user": "update"}
    second = pulumi.outputs()
    assert two.live() == [first["tokenId"], second["tokenId"]]
    assert fingerprint(second["value"]) == second["tokenId"]
    assert two.comment_of_user() == f"uses {second['tokenId']}"
    assert second["id"] == first["id"] == two.state()["outputs"]["previousTokenId"]

    # The refresh before the update moves the id; nothing else is new.
    before = two.state()["outputs"]
    assert pulumi.up("--expect-no-changes").changes["same"] == 2
    state = two.state()
    assert state["id"] == second["tokenId"]
    assert {name for name in {*before, *state["outputs"]} if before.get(name) != state["outputs"].get(name)} <= {
        "id", "__currentId", "previousTokenValue", "tokenValue",
    }

    workspace.advance(OVERLAP + HOUR)
    preview = pulumi.preview()
    assert two.ops(preview) == {"t": "update", "user": "same"}
    assert detailed(two.steps(preview)["t"]) == {"previousTokenId": "delete"}
    assert two.ops(pulumi.up()) == {"t": "update", "user": "same"}
    assert two.live() == [second["tokenId"]]
    assert not [name for name in two.state()["outputs"] if name.startswith("previous")]
    assert pulumi.up("--expect-no-changes").changes["same"] == 2
    pulumi.refresh("--expect-no-changes")

    workspace.advance(LIFETIME - WINDOW)
    pulumi.up()
    assert len(two.live()) == 2
    pulumi.destroy()
    assert workspace.live() == []


def test_a_plain_up_notices(pulumi, workspace):
    two = Two(pulumi, workspace)
    (first,) = two.live()
    workspace.revoke_later(first)
    off = {"PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE": "off"}
    # Whether a run refreshes is what the state says, so a change of that holds from the next run on.
    two.write(rotateWhenChanged={"asked": "1"})
    assert two.ops(pulumi.preview())["t"] == "create"
    pulumi.up()
    (second,) = two.live()
    pulumi.up(env=off)
    workspace.revoke_later(second)
    result = pulumi.up(env=off)
    assert set(two.ops(result).values()) == {"same"} and two.live() == []
    assert two.ops(pulumi.up("--refresh"))["t"] == "create" and len(two.live()) == 1


def test_back_to_the_official_plugin(pulumi, workspace):
    """The steps of docs/rotation.md end with a state as without an overlap."""
    two = Two(pulumi, workspace)
    workspace.advance(LIFETIME - WINDOW + HOUR)
    pulumi.up()
    _, second = two.live()
    plain = {"comment": "credential", "lifetimeSeconds": LIFETIME}
    pulumi.write({"t": {"type": "databricks:Token", "properties": plain}})
    pulumi.up()
    assert second in two.live() and len(two.live()) == 2
    workspace.advance(OVERLAP + HOUR)
    pulumi.up()
    pulumi.refresh()
    assert two.live() == [second]
    state = two.state()
    assert state["id"] == second == state["outputs"]["tokenId"] == state["outputs"]["id"]
    created_by = {"__createdById", "__createdByUsername"}
    assert {name for name in state["outputs"] if name.startswith(("__", "previous"))} <= created_by
    assert set(state["inputs"]) <= {"comment", "lifetimeSeconds", "__defaults"}
    assert not state.get("refreshBeforeUpdate")
    pulumi.unchanged()


def test_import_of_a_token_with_a_previous_one(pulumi, workspace):
    """What is imported is the current token, by its own id; its mark is not part of the program's comment."""
    two = Two(pulumi, workspace)
    workspace.advance(LIFETIME - WINDOW + HOUR)
    pulumi.up()
    _, second = two.live()
    pulumi.run("import", TOKEN_TYPE, "i", second, "--stack", "test", "--yes", "--skip-preview", "--protect=false")
    assert two.state("i")["id"] == second == two.state("i")["outputs"]["tokenId"]


class World:
    """A workspace, a stack and its resources."""

    def __init__(self, folder, kinds, count):
        self.workspace = LocalWorkspace()
        self.resources = [
            Resource(kind, f"{kind.name}-{n}", None if kind is TOKEN else robot(self.workspace, f"{kind.name}-{n}"))
            for kind in kinds
            for n in range(count)
        ]
        env = {"DATABRICKS_HOST": self.workspace.host, "DATABRICKS_TOKEN": self.workspace.token}
        self.pulumi = Pulumi(folder, env)
        self.engine = RealEngine(self.pulumi, self.workspace, self.resources)
        self.watch = Watch(self.workspace, self.resources)

    def live(self, chance, **terms):
        try:
            seen = two_years(self.engine, self.watch, chance, **terms)
        finally:
            self.workspace.stop()
        assert seen["rotations"] and seen["settled"] and self.watch.most == 2
        assert not self.pulumi.leaks()
        return seen


STACKS = {
    "all kinds": (KINDS.values(), 2),
    "twenty tokens": ([TOKEN], 20),
}


@pytest.mark.timeout(7200 if FULL else 240)
@pytest.mark.parametrize("name", STACKS if FULL else ["all kinds"])
def test_years_with_deaths(tmp_path, name):
    """Nobody who holds a value is locked out, and nothing is left at the end, whoever was killed when."""
    seed = int(os.environ.get("SEED", "4"))
    world = World(tmp_path / "pulumi", *STACKS[name])
    terms = {"days": 730, "quiet": 1.0} if FULL else {"days": 170, "quiet": 0.1}
    seen = world.live(random.Random(seed), **terms)
    print(f"{name}, seed {seed}: {json.dumps(seen)}, {world.watch}")
    if FULL:
        assert any(count for who, count in seen.items() if who.endswith("died"))

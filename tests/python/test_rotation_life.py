"""Two years of rotations with overlap, in which the engine and the plugin die again and again, and random changes of
programs: whoever holds a value can use it, no credential is forgotten, and Diff says nothing without a cause.

This part runs without the real engine, and test_rotation_engine.py has the part with it; `make simulate` runs many more
years. A seed that fails is in the test's name: `SEEDS=17-17 make simulate` runs it again.
"""

import os
import random

import pytest
from conftest import LocalWorkspace
from support_rotation import (
    DAY,
    HOUR,
    KINDS,
    SECRET,
    TOKEN,
    Crash,
    Died,
    Engine,
    Failed,
    Judge,
    Resource,
    Watch,
    every,
    robot,
    two_years,
)


def seeds(default):
    """The seeds to run: those of the environment, such as 0-99, or as many as `default` says."""
    first, last = (int(number) for number in os.environ.get("SEEDS", f"0-{default - 1}").split("-"))
    return range(first, last + 1)


@pytest.fixture(scope="module")
def own_workspace():
    """A workspace for this module, whose clock goes on for years."""
    it = LocalWorkspace()
    yield it
    it.stop()


def resources(workspace, kinds, count):
    """So many credentials of each kind, each with a service principal of its own if it needs one."""
    workspace.reset()
    return [
        Resource(kind, f"{kind.name}-{number}", None if kind is TOKEN else robot(workspace, f"{kind.name}-{number}"))
        for kind in kinds
        for number in range(count)
    ]


def live_through(home, workspace, kinds, count, seed, **terms):
    all_of_them = resources(workspace, kinds, count)
    watch = Watch(workspace, all_of_them)
    with Engine(home, workspace, all_of_them, at_once=min(count * len(kinds), 4), judge=Judge()) as engine:
        seen = two_years(engine, watch, random.Random(seed), **terms)
    print(f"seed {seed}, {count} of {[kind.name for kind in kinds]}: {dict(seen)}, {watch}")
    assert seen["rotations"] and seen["settled"]
    assert watch.most == 2


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_two_years_of_one_credential(tmp_path, own_workspace, kind, seed):
    live_through(tmp_path, own_workspace, [kind], 1, seed, quiet=0.2)


@pytest.mark.parametrize("seed", seeds(1))
def test_twenty_tokens(tmp_path, own_workspace, seed):
    live_through(tmp_path, own_workspace, [TOKEN], 20, seed, days=200, quiet=0.1)


@pytest.mark.parametrize("seed", seeds(1))
def test_two_years_of_all_kinds(tmp_path, own_workspace, seed):
    live_through(tmp_path, own_workspace, KINDS.values(), 2, seed, quiet=0.1)


# --- Programs that change, and people who interfere ---


# Outputs that a refresh may change: the id, which it sets right; what Databricks finds by and by; and a date that follows
# from an input whose change alone is no update.
MOVING = {"id", "autoscopeState", "inferredScopes", "backfillScopes", "rotatesAt"}


class Walk:
    """Steps in any order: time, changes of the program, revocations by hand, deaths."""

    def __init__(self, engine, resource, chance):
        self.engine, self.resource, self.chance = engine, resource, chance
        self.workspace = engine.workspace
        self.done = []

    def step(self):
        steps = (self.time, self.time, self.change, self.change, self.up, self.up, self.die, self.refresh, self.revoke)
        step = self.chance.choice(steps)
        self.done.append(step.__name__)
        step()

    def time(self):
        self.workspace.advance(self.chance.choice((HOUR, DAY, 8 * DAY, 30 * DAY, 80 * DAY)))

    def change(self):
        program, chance, kind = self.resource.program, self.chance, self.resource.kind
        days = chance.choice((30, 60, 90))
        lifetime = ("lifetime", f"{days * DAY}s") if kind is SECRET else ("lifetimeSeconds", days * DAY)
        changes = [
            lifetime,
            ("scopes", chance.choice((["sql"], ["sql", "files"], None))),
            ("rotateWhenChanged", chance.choice(({"asked": str(chance.random())}, None))),
            ("rotateBeforeSeconds", chance.choice((7 * DAY, 14 * DAY, None))),
            ("overlapSeconds", chance.choice((HOUR, 2 * DAY, 7 * DAY, None))),
        ]
        if kind is SECRET:
            changes.append(("timeRotating", chance.choice(("a", "b", None))))
        else:
            # The comment does not change, since the test finds the token by it.
            changes.append(("autoscopeEnabled", chance.choice((True, False, None))))
        name, value = chance.choice(changes)
        self.done[-1] = f"{name} = {value}"
        program.pop(name, None)
        if value is not None:
            program[name] = value

    def up(self):
        # A replacement has no mark by which an orphan is found: an error names what it may have left.
        self.engine.up()
        self.known()

    def die(self):
        crash = Crash.any(self.chance)
        self.done[-1] = str(crash)
        try:
            self.engine.up(crash)
        except (Died, Failed):
            pass

    def refresh(self):
        before = self.resource.state
        self.engine.refresh()
        after = self.resource.state
        if after and "__gone" not in after.outputs:
            assert after.id == self.resource.current
            stated = {name: value for name, value in before.inputs.items() if name in before.outputs}
            for name, value in (before.outputs | stated).items():
                # The id is set right, and Databricks finds scopes by and by.
                if not name.startswith("__") and name not in MOVING:
                    assert after.outputs.get(name) == value, name

    def revoke(self):
        """Somebody revokes one by hand. For a newer one the plugin would go on looking, since lists lag behind."""
        self.workspace.advance(60)
        all_of_them = every(self.workspace.control("/state"), self.resource)
        known = [it["id"] for it in all_of_them if it["live"] and it["id"] in self.resource.known()]
        if known:
            gone = self.chance.choice(known)
            where = "secrets" if self.resource.kind is SECRET else "tokens"
            self.workspace.control(f"/{where}/{gone}/{'delete' if self.resource.kind is SECRET else 'revoke'}", {})

    def known(self):
        """After an `up` that ended well, at most two of the credentials in the state are alive."""
        live = {it["id"] for it in every(self.workspace.control("/state"), self.resource) if it["live"]}
        assert len(live & self.resource.known()) <= 2


@pytest.mark.parametrize("seed", seeds(8))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_programs_that_change(tmp_path, own_workspace, kind, seed):
    """Judge looks at every Diff on the way."""
    (resource,) = resources(own_workspace, [kind], 1)
    chance = random.Random(seed)
    with Engine(tmp_path, own_workspace, [resource], judge=Judge()) as engine:
        engine.up()
        walk = Walk(engine, resource, chance)
        try:
            for _ in range(30):
                walk.step()
                if resource.state is None:
                    engine.up()
            engine.up()
            engine.up()
            walk.known()
            known = resource.known()
            engine.destroy()
        except BaseException:
            print(f"seed {seed}: {walk.done}")
            raise
    assert not known & {it["id"] for it in every(own_workspace.control("/state"), resource) if it["live"]}

"""Stack states as versions of the official plugin left them.

Each variant is a token: `made` is how the API is asked for it, `inputs` and `outputs` are those in the state, `program`
is what the program states, and `entry` is what else the state says about the token.
In outputs, LIVE stands for what the workspace says about the token under that name.
"""

import uuid

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
TOKEN = "databricks:index/token:Token"
PROVIDER = "pulumi:providers:databricks"
LIVE = object()

# This is how the bridge records which outputs differ from the upstream provider's own state.
DELTA = {"obj": {"ps": {"providerConfig": {"plu": {"i": {"obj": {}}}}}}}
TIMEOUTS = "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0"


def secret(text):
    """A secret in a state that is not encrypted; `text` is JSON."""
    return {SIGNATURE: SECRET, "plaintext": text}


class Variant:
    def __init__(
        self, *, made=None, inputs=None, without=(), program=None, provider="default_1_106_0", entry=None, **outputs
    ):
        self.made = made or {}
        self.inputs = {"__defaults": []} if inputs is None else inputs
        self.program = program or {}
        self.provider = provider
        self.entry = entry or {}
        measured = {
            "__pulumi_raw_state_delta": DELTA, "comment": None, "creationTime": LIVE, "expiryTime": LIVE, "id": LIVE,
            "lifetimeSeconds": None, "providerConfig": LIVE, "tokenId": LIVE, "tokenValue": LIVE,
        }
        self.outputs = {name: value for name, value in (measured | outputs).items() if name not in without}


HELLO = {"comment": "hello", "lifetime_seconds": 8640000}
HELLO_STATE = {"comment": "hello", "lifetimeSeconds": 8640000}
HELLO_INPUTS = {"__defaults": []} | HELLO_STATE


def hello(**changes):
    settings = {"made": HELLO, "inputs": HELLO_INPUTS, "program": HELLO} | HELLO_STATE
    return Variant(**(settings | changes))


def variants(workspace_id):
    config = {"workspaceId": workspace_id}
    computed = {"creationTime": LIVE, "expiryTime": LIVE, "tokenId": LIVE, "providerConfig": LIVE}
    return {
        "measured": hello(),
        "no-arguments": Variant(),
        "workspace-stated": Variant(
            inputs={"__defaults": [], "providerConfig": {"__defaults": []} | config},
            program={"provider_config": {"workspace_id": workspace_id}},
        ),
        "without-defaults": hello(inputs=HELLO_STATE),
        "nested-defaults": hello(
            inputs=HELLO_INPUTS | {"__defaults": ["comment"], "providerConfig": {"__defaults": ["workspaceId"]} | config},
        ),
        "without-delta": hello(without=["__pulumi_raw_state_delta"]),
        "meta": hello(without=["__pulumi_raw_state_delta"], __meta='{"schema_version":"0"}'),
        "meta-with-timeouts": hello(
            without=["__pulumi_raw_state_delta"],
            __meta='{"%s":{"create":60000000000},"schema_version":"0"}' % TIMEOUTS,
        ),
        "delta-and-meta": hello(__meta='{"schema_version":"0"}'),
        "delta-with-secrets": hello(__pulumi_raw_state_delta={
            "obj": {"ps": {
                "providerConfig": {"plu": {"i": {"obj": {}}}},
                "tokenValue": {"replace": {"raw": secret('"dapi-of-the-delta"')}},
            }},
        }),
        "without-provider-config": hello(without=["providerConfig"]),
        "null-provider-config": hello(providerConfig=None),
        "oldest": hello(without=["providerConfig", "__pulumi_raw_state_delta", "id"]),
        "without-id": hello(without=["id"]),
        "without-nulls": Variant(without=["comment", "lifetimeSeconds"]),
        "null-inputs": Variant(inputs={"__defaults": [], "comment": None, "lifetimeSeconds": None}),
        "zero-values": Variant(
            inputs={"__defaults": [], "comment": "", "lifetimeSeconds": 0}, comment="", lifetimeSeconds=0,
            program={"comment": "", "lifetime_seconds": 0},
        ),
        "empty-comment-of-none": Variant(comment="", lifetimeSeconds=0),
        # The workspace of the tests sets no limit, so that tokens without a lifetime never expire.
        "never-expires": Variant(expiryTime=-1),
        "imported": Variant(
            made=HELLO, inputs={"comment": "hello"} | computed, comment="hello", tokenValue=secret("null"),
            program={"comment": "hello"}, entry={"additionalSecretOutputs": []},
        ),
        "imported-lifetime-stated": Variant(
            made=HELLO, inputs={"__defaults": [], "comment": "hello"} | computed, comment="hello",
            tokenValue=secret("null"), program=HELLO, entry={"additionalSecretOutputs": []},
        ),
        "computed-stated": hello(
            inputs=HELLO_INPUTS | {"creationTime": LIVE, "tokenId": LIVE},
            program=HELLO | {"creation_time": LIVE, "token_id": LIVE},
        ),
        "secret-comment": hello(
            inputs=HELLO_INPUTS | {"comment": secret('"hello"')}, comment=secret('"hello"'),
            program=HELLO | {"comment": {"secret": "hello"}},
        ),
        "newer-default": hello(provider="default_1_118_0"),
        "unversioned-default": hello(provider="default"),
        "on-explicit": hello(provider="explicit"),
        "on-every-shape": hello(provider="shapes"),
    }


def outputs_of(stated, live, value, workspace_id):
    """A property map with everything LIVE filled in."""
    known = {
        "creationTime": live["creation_time"], "creation_time": live["creation_time"],
        "expiryTime": live["expiry_time"], "expiry_time": live["expiry_time"],
        "id": live["id"], "tokenId": live["id"], "token_id": live["id"],
        "providerConfig": {"workspaceId": workspace_id}, "tokenValue": secret(f'"{value}"'),
    }
    return {name: known[name] if item is LIVE else item for name, item in stated.items()}


def deployment(project, stack, providers, tokens):
    """A state file: inputs of each provider, and (id, provider, inputs, outputs, entry) of each token, all by name."""
    root = f"urn:pulumi:{stack}::{project}::"
    stack_urn = f"{root}pulumi:pulumi:Stack::{project}-{stack}"
    resources = [{"urn": stack_urn, "custom": False, "type": "pulumi:pulumi:Stack"}]
    references = {}
    for name, inputs in providers.items():
        urn, id = f"{root}{PROVIDER}::{name}", str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        references[name] = f"{urn}::{id}"
        resources.append({
            "urn": urn, "custom": True, "id": id, "type": PROVIDER, "inputs": inputs, "outputs": inputs,
        } | ({} if name.startswith("default") else {"parent": stack_urn}))
    for name, (id, provider, inputs, outputs, entry) in tokens.items():
        resources.append({
            "urn": f"{root}{TOKEN}::{name}", "custom": True, "id": id, "type": TOKEN, "inputs": inputs,
            "outputs": outputs, "parent": stack_urn, "provider": references[provider],
            "additionalSecretOutputs": ["tokenValue"], "propertyDependencies": {},
        } | entry)
    return {"version": 3, "deployment": {
        "manifest": {"time": "2026-01-02T03:04:05Z", "magic": "", "version": ""}, "resources": resources,
    }}


def in_state(program):
    """What a program states, under the names that a state uses."""
    names = {
        "lifetime_seconds": "lifetimeSeconds", "creation_time": "creationTime", "expiry_time": "expiryTime",
        "token_id": "tokenId",
    }
    stated = {names.get(name, name): value for name, value in program.items() if name != "provider_config"}
    config = program.get("provider_config")
    if config:
        stated["providerConfig"] = {"workspaceId": config["workspace_id"]}
    return {name: value["secret"] if isinstance(value, dict) and "secret" in value else value for name, value in stated.items()}


def official_changes(outputs, program):
    """What the official plugin's Diff reports for a program (with the names of a state) and outputs without secrets."""
    stated = {name: value for name, value in program.items() if value is not None}
    config, workspace = ((side.get("providerConfig") or {}).get("workspaceId") for side in (stated, outputs))
    # Where the program states nothing, an empty text and 0 count as nothing.
    changed = {
        name for name in ("comment", "lifetimeSeconds")
        if (stated[name] != outputs.get(name) if name in stated else outputs.get(name))
    }
    changed |= {
        name for name in ("creationTime", "expiryTime", "tokenId") if name in stated and stated[name] != outputs[name]
    }
    return changed | ({"providerConfig"} if config and workspace and config != workspace else set())

"""The official Node.js SDK, as npm has it, drives our plugin."""

import pytest
import support_dropin as dropin
from conftest import is_secret, plugin_bin


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    it = dropin.node_worker(tmp_path_factory.mktemp("worker"))
    yield it
    it.stop()


@pytest.fixture
def local():
    with dropin.workspace() as it:
        yield it


@pytest.fixture
def elsewhere():
    with dropin.workspace("--workspace-id", "2222222222222222") as it:
        yield it


def comments(workspace):
    return sorted(token["comment"] for token in workspace.tokens() if token["live"])


@pytest.fixture(params=["on PATH", "attached"])
def environment(request, local, tmp_path):
    """Where the plugin is: a process for each provider, or one for all."""
    if request.param == "on PATH":
        yield dropin.base_environment(tmp_path, plugin_bin()) | local.environment()
        return
    with dropin.attached(tmp_path, **local.environment()) as plugin:
        yield dropin.base_environment(tmp_path) | {"PULUMI_DEBUG_PROVIDERS": f"databricks:{plugin.port}"}
        assert plugin.process.poll() is None


def test_a_program_in_node(worker, local, elsewhere, environment, tmp_path):
    got, _ = local.mint(comment="only read")
    adopted, _ = local.mint(comment="made elsewhere")
    workspaces = [{"host": it.host, "token": it.token, "workspace_id": it.workspace_id} for it in (local, elsewhere)]
    it = dropin.Stack(
        worker, tmp_path, "everything.js", environment, workspaces=workspaces, got=got, adopted=adopted, phase=1
    )
    preview = it.preview()
    assert preview.ops("every") == preview.ops("by-token") == preview.ops("team-token") == ["create"]
    assert elsewhere.tokens() == []

    # By default the Automation API shows the values of secret outputs.
    up = it.up(show_secrets=False)
    assert up.secret == {"tokenValue"}
    assert local.accepts(up.outputs["tokenValue"])
    every = local.by_id()[up.outputs["everyId"]]
    assert (up.outputs["creationTime"], up.outputs["lifetimeSeconds"]) == (every["creation_time"], 8640000)
    assert (up.outputs["workspace"], up.outputs["got"]) == ("2222222222222222", "only read")
    assert comments(elsewhere) == ["of a component", "other"]
    assert comments(local) == sorted([
        "Token for accessing Databricks REST API", "hidden comment", f"made by {up.outputs['tokenId']}", "before",
        "before", "renamed", "only read", "protected", "retained", "deleted-first before", "replaced-on-changes",
        "transformed", "made elsewhere",
    ])
    assert up.ops("adopted") == ["import"]
    inputs = it.provider_inputs("other")
    version = inputs.pop("version")
    assert dropin.revealed(inputs) == {
        "host": elsewhere.host, "token": elsewhere.token, "debugHeaders": "true", "rateLimit": "50",
        "httpTimeoutSeconds": "30", "scopes": '["sql","all-apis"]', "skipVerify": "false",
    }
    assert {name for name, value in inputs.items() if is_secret(value)} == {"token", "rateLimit", "scopes"}
    # The version is the SDK's own, which is older than ours.
    assert version.split(".")[0] == "1"
    assert f"default_{version.replace('.', '_')}" in it.resources()
    state = str(it.export())
    for hidden in (up.outputs["tokenValue"], local.token, elsewhere.token, "hidden comment"):
        assert hidden not in state
        assert hidden not in preview.everything() + up.everything()
    it.unchanged()

    before = it.tokens()
    it.arguments["phase"] = 2
    local.forget_requests()
    elsewhere.forget_requests()
    up = it.up()
    for name in ("another", "in-other", "team-token", "ignored", "new-name", "every", "protected", "transformed", "adopted"):
        assert up.ops(name) == ["same"], name
    assert up.ops("replaced") == ["create-replacement", "replace", "delete-replaced"]
    assert up.ops("deleted-first") == ["delete-replaced", "replace", "create-replacement"]
    assert up.ops("replaced-on-changes")[0] == "create-replacement"
    assert up.ops("retained") == ["delete"]
    assert before["retained"]["id"] in local.live()
    assert sorted(local.operations()) == ["create"] * 3 + ["delete"] * 3
    assert elsewhere.operations() == []
    it.unchanged()
    it.refresh()
    it.unchanged()
    refused = it.run("destroy")
    assert not refused.ok and "protected" in refused.everything()
    it.pulumi("state", "unprotect", "--all", "--yes")
    it.destroy()
    assert comments(local) == ["only read", "retained"]
    assert elsewhere.live() == []

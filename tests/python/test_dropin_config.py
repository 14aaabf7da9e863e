"""Provider configuration as it arrives from every kind of program: CheckConfig, DiffConfig and Configure."""

import json

import grpc
import pytest
import support_dropin as dropin
from conftest import SECRET_SIGNATURE, SIGNATURE, UNKNOWN, is_secret, secret

OFFICIAL = json.loads((dropin.DATA / "official_schema.json").read_text())["config"]

# Values of an environment that must never get into a reply.
ENVIRONMENT = {
    "DATABRICKS_HOST": "https://environment.example.com",
    "DATABRICKS_TOKEN": "dapi-of-the-environment",
    "DATABRICKS_CLUSTER_ID": "cluster-of-the-environment",
    "DATABRICKS_DEBUG_HEADERS": "true",
}


@pytest.fixture(scope="module")
def local():
    with dropin.workspace() as it:
        yield it


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with dropin.attached(tmp_path_factory.mktemp("plugin"), **ENVIRONMENT) as it:
        yield it


@pytest.fixture(scope="module")
def bare_process(tmp_path_factory):
    """The plugin without an environment that could fill in what the program leaves out."""
    with dropin.attached(tmp_path_factory.mktemp("plugin")) as it:
        yield it


@pytest.fixture(scope="module")
def plugin(process):
    return dropin.instance(process)


def in_json(value):
    """A secret as SDKs leave it inside JSON text."""
    return {SIGNATURE: SECRET_SIGNATURE, "value": value}


SIGN_IN = {"host": "https://dbc-1.cloud.databricks.com", "token": "dapi1"}
SHAPES = {
    "nothing": {},
    "text": SIGN_IN | {"debugHeaders": "true", "rateLimit": "30", "scopes": '["sql", "all-apis"]'},
    "native": SIGN_IN | {"debugHeaders": True, "rateLimit": 30, "scopes": ["sql", "all-apis"]},
    "JSON without spaces": SIGN_IN | {"debugHeaders": "false", "rateLimit": "0", "scopes": '["sql","all-apis"]'},
    "secrets in JSON": SIGN_IN | {"scopes": json.dumps(["sql", in_json("all-apis")])},
    "secrets as JSON": SIGN_IN | {
        "debugHeaders": json.dumps(in_json(True)), "rateLimit": json.dumps(in_json(30)),
        "scopes": json.dumps(in_json(["sql", in_json("all-apis")])),
    },
    "null as JSON": SIGN_IN | {"debugHeaders": "null", "rateLimit": "null", "scopes": "null"},
    "numbers as JSON has them": SIGN_IN | {"rateLimit": "30.0", "httpTimeoutSeconds": "3e1"},
    "empty texts": {name: "" for name in OFFICIAL},
    "nulls": {name: None for name in OFFICIAL},
    "unknowns": {name: UNKNOWN for name in OFFICIAL},
    "one unknown": SIGN_IN | {"token": UNKNOWN, "password": "p", "username": "u"},
    "unknown in a list": SIGN_IN | {"scopes": ["sql", UNKNOWN]},
    "number as text of an id": SIGN_IN | {"workspaceId": 1234567890123456},
    "with what the engine adds": SIGN_IN | {"version": "1.118.0", "pluginDownloadURL": "https://example.com"},
    "methods and one chosen": SIGN_IN | {"clientId": "c", "clientSecret": "s", "authType": "pat"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_configuration_is_handed_back_as_it_came(plugin, name):
    inputs, failures = plugin.check_config(SHAPES[name])
    assert failures == []
    without_marks = {key: value["value"] if is_secret(value) else value for key, value in inputs.items()}
    assert without_marks == SHAPES[name]
    # The engine sends credentials in the clear here; they go back marked.
    credentials = {key for key in SHAPES[name] if OFFICIAL.get(key, {}).get("secret")}
    assert credentials <= {key for key, value in inputs.items() if is_secret(value)}


def test_nothing_of_the_environment_is_added(plugin):
    assert plugin.check_config({}) == ({}, [])
    assert plugin.check_config({"host": "h"}, olds=SIGN_IN) == ({"host": "h"}, [])


REFUSED = {
    "unknown key": ({"hots": "h"}, "`hots`; did you mean `host`?"),
    "name of another tool": ({"azure_client_id": "h"}, "`azure_client_id`; did you mean `azureClientId`?"),
    "key of nothing": ({"experimentalUnknown": "h"}, "no configuration property `experimentalUnknown`"),
    "number": ({"rateLimit": "many"}, "databricks:rateLimit: expected a whole number"),
    "flag": ({"skipVerify": "perhaps"}, "databricks:skipVerify: expected true or false"),
    "inexact id": ({"workspaceId": 9107199254740993}, "databricks:workspaceId: expected a string; a number as large"),
    "list": ({"scopes": "[1"}, "databricks:scopes: expected a list"),
    "list of lists": ({"scopes": [[]]}, "databricks:scopes"),
    "two methods": (SIGN_IN | {"username": "u", "password": "dapi-hidden"}, "more than one authorization method"),
    "secret of another type": ({"token": ["dapi-hidden"]}, "databricks:token: expected a string"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_configuration_is_refused(plugin, name):
    news, reason = REFUSED[name]
    _, failures = plugin.check_config(news)
    # The engine would print the value of a property that is named.
    assert [path for path, _ in failures] == [""]
    assert reason in failures[0][1]
    assert "hidden" not in failures[0][1]


@pytest.mark.parametrize("name", [name for name, (_, reason) in REFUSED.items() if "`" not in reason])
def test_configure_refuses_the_same(process, name):
    """CheckConfig does not always run before Configure."""
    news, reason = REFUSED[name]
    with pytest.raises(grpc.RpcError) as error:
        dropin.instance(process, **{key: secret(value) for key, value in news.items()})
    assert reason in error.value.details()
    assert "hidden" not in error.value.details()


CONFIGURED = {
    "text": {"debugHeaders": "true", "httpTimeoutSeconds": "30", "rateLimit": "50", "scopes": '["sql", "all-apis"]'},
    "native": {"debugHeaders": True, "httpTimeoutSeconds": 30, "rateLimit": 50, "scopes": ["sql"]},
    "secret text": {"debugHeaders": secret("true"), "rateLimit": secret("50"), "scopes": secret('["sql"]')},
    "secrets in JSON": {"scopes": json.dumps(["sql", in_json("all-apis")])},
    "secrets as JSON": {"debugHeaders": json.dumps(in_json(True)), "rateLimit": json.dumps(in_json(30)),
                        "scopes": json.dumps(in_json(["sql"]))},
    "null as JSON": {"debugHeaders": "null", "rateLimit": "null", "scopes": "null"},
    "secrets in a list": {"scopes": ["sql", secret("all-apis")]},
    "empty texts": {"debugHeaders": "", "rateLimit": "", "scopes": "", "profile": "", "workspaceId": "", "authType": ""},
    "nulls": {"debugHeaders": None, "rateLimit": None, "scopes": None, "profile": None},
    "workspace as a number": {"workspaceId": 1234567890123456},
    "what the engine adds": {"version": "1.118.0", "pluginDownloadURL": "https://example.com"},
    "what old states hold": {"experimentalUnknown": "x", "__internal": {"pluginDownloadURL": "https://example.com"}},
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_shape_configures(bare_process, local, name):
    local.reset()
    plugin = dropin.instance(bare_process, host=local.host, token=secret(local.token), **CONFIGURED[name])
    token_id, _ = plugin.create({"comment": name})
    assert local.live() == [token_id]


def test_a_secret_host(bare_process, local):
    local.reset()
    plugin = dropin.instance(bare_process, host=secret(local.host), token=secret(local.token))
    plugin.create({})
    assert len(local.live()) == 1


# Old and new configuration, and what DiffConfig says. It never replaces a provider: that would replace every token.
CHANGES = {
    "nothing": (SIGN_IN, SIGN_IN, {}),
    "host": (SIGN_IN, SIGN_IN | {"host": "https://other"}, {"host": "UPDATE"}),
    "credentials": (SIGN_IN, SIGN_IN | {"token": "dapi2"}, {"token": "UPDATE"}),
    "another method": (
        SIGN_IN, {"host": SIGN_IN["host"], "clientId": "c", "clientSecret": "s"},
        {"token": "DELETE", "clientId": "ADD", "clientSecret": "ADD"},
    ),
    "added and removed": ({"host": "h"}, {"profile": "p"}, {"host": "DELETE", "profile": "ADD"}),
    "workspace": (SIGN_IN | {"workspaceId": "1"}, SIGN_IN | {"workspaceId": "2"}, {"workspaceId": "UPDATE"}),
    "version only": (SIGN_IN | {"version": "1.106.0"}, SIGN_IN | {"version": "2.0.0"}, {}),
    "version at last": (SIGN_IN, SIGN_IN | {"version": "2.0.0"}, {}),
    "version and host": (
        SIGN_IN | {"version": "1.106.0"}, {"host": "o", "token": "dapi1", "version": "2.0.0"}, {"host": "UPDATE"},
    ),
    "everything at last": ({}, SIGN_IN, {"host": "ADD", "token": "ADD"}),
    "everything gone": (SIGN_IN, {}, {"host": "DELETE", "token": "DELETE"}),
    "unknown": (SIGN_IN, SIGN_IN | {"token": UNKNOWN}, {"token": "UPDATE"}),
    "unknown of nothing": ({}, {"token": UNKNOWN}, {"token": "ADD"}),
    "null is absent": ({"host": "h", "token": None}, {"host": "h", "profile": None}, {}),
    # The same values as another SDK writes them.
    "text for a flag": ({"debugHeaders": "true"}, {"debugHeaders": True}, {}),
    "text for a number": ({"rateLimit": 30}, {"rateLimit": "30"}, {}),
    "text for a list": ({"scopes": ["sql"]}, {"scopes": '["sql"]'}, {}),
    "spaces in JSON": ({"scopes": '["sql","b"]'}, {"scopes": '["sql", "b"]'}, {}),
    "empty text is unset": ({"profile": "", "rateLimit": "", "scopes": ""}, {}, {}),
    "null as JSON is unset": ({"skipVerify": "null", "rateLimit": "null", "scopes": "null"}, {}, {}),
    "now secret": (
        {"rateLimit": "30", "skipVerify": "true", "scopes": '["sql"]'},
        {"rateLimit": json.dumps(in_json(30)), "skipVerify": json.dumps(in_json(True)),
         "scopes": json.dumps([in_json("sql")])}, {},
    ),
    "credential marked at last": (SIGN_IN | {"token": "dapi1"}, SIGN_IN | {"token": secret("dapi1")}, {}),
    "zero value is unset": ({}, {"skipVerify": "false", "rateLimit": "0", "scopes": "[]"}, {}),
    "other number": ({"rateLimit": "30"}, {"rateLimit": "31"}, {"rateLimit": "UPDATE"}),
    "other list": ({"scopes": '["sql"]'}, {"scopes": '["jobs"]'}, {"scopes": "UPDATE"}),
    "where the plugin comes from": (
        SIGN_IN | {"pluginDownloadURL": "https://a"}, SIGN_IN | {"__internal": {"pluginDownloadURL": "https://b"}}, {},
    ),
    "key of another version": ({"experimentalUnknown": "x"}, {}, {"experimentalUnknown": "DELETE"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_the_configuration(plugin, name):
    old, new, expected = CHANGES[name]
    assert plugin.config_differences(old, new) == expected


def test_outputs_stand_in_for_old_inputs_that_are_missing(plugin):
    """The engine of Pulumi before 3.59 sends no old inputs."""
    request = dropin.pb.DiffRequest(olds=dropin.struct(SIGN_IN), news=dropin.struct(SIGN_IN | {"host": "o"}))
    assert dropin.verdict(plugin.stub.DiffConfig(request, timeout=20)) == {"host": "UPDATE"}

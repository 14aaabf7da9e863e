"""Our schema holds everything that programs for the official provider compile against.

tests/dropin/official_schema.json lists it: names, types, what is always there, what is secret.
"""

import ast
import gc
import json
import re

import pytest
import support_dropin as dropin

OFFICIAL = json.loads((dropin.DATA / "official_schema.json").read_text())
SCHEMA = json.loads((dropin.ROOT / "schema.json").read_text())
TOKEN = SCHEMA["resources"][dropin.TOKEN]
CONFIG_TYPE = "databricks:index/TokenProviderConfig:TokenProviderConfig"


def type_of(property):
    if "$ref" in property:
        name = property["$ref"].rsplit(":", 1)[1]
        assert property["$ref"] == f"#/types/databricks:index/{name}:{name}"
        return name
    return {"array": property["items"]["type"]} if property["type"] == "array" else property["type"]


def compare(ours, official, required):
    for name, expected in official.items():
        assert name in ours, f"{name} is missing"
        assert type_of(ours[name]) == expected["type"], name
        assert ours[name].get("secret", False) == expected.get("secret", False), name
        assert (name in required) == expected.get("required", False), name


def test_inputs():
    compare(TOKEN["inputProperties"], OFFICIAL["token"]["inputs"], TOKEN.get("requiredInputs", []))


def test_outputs():
    compare(TOKEN["properties"], OFFICIAL["token"]["outputs"], TOKEN["required"])


# Module, class, and the name in official_schema.json.
OTHERS = [("obo_token", "OboToken", "oboToken"), ("service_principal_secret", "ServicePrincipalSecret", "servicePrincipalSecret")]


@pytest.mark.parametrize(("module", "name", "key"), OTHERS)
def test_the_other_credentials(module, name, key):
    ours, official = SCHEMA["resources"][f"databricks:index/{key}:{name}"], OFFICIAL[key]
    compare(ours["inputProperties"], official["inputs"], ours.get("requiredInputs", []))
    compare(ours["properties"], official["outputs"], ours["required"])
    # What we add is optional.
    assert set(ours["requiredInputs"]) <= set(official["inputs"])
    assert set(ours["required"]) <= set(official["outputs"]) | {"creationTime", "expiryTime", "tokenId"}
    optional = {property: {**it, "required": False} for property, it in official["outputs"].items()}
    compare(ours["stateInputs"]["properties"], optional, [])
    config = SCHEMA["types"][f"databricks:index/{name}ProviderConfig:{name}ProviderConfig"]
    compare(config["properties"], OFFICIAL[f"{name}ProviderConfig"], config.get("required", []))


def test_what_we_add_is_optional():
    assert TOKEN.get("requiredInputs", []) == []
    assert set(TOKEN["required"]) <= set(OFFICIAL["token"]["outputs"])


def test_state_of_get():
    """Token.get takes every output, all optional."""
    state = TOKEN["stateInputs"]
    assert state.get("required", []) == []
    optional = {name: {**it, "required": False} for name, it in OFFICIAL["token"]["outputs"].items()}
    compare(state["properties"], optional, [])


def test_type_of_the_workspace():
    config = SCHEMA["types"][CONFIG_TYPE]
    compare(config["properties"], OFFICIAL["TokenProviderConfig"], config.get("required", []))


@pytest.mark.parametrize("properties", ["config", "provider"])
def test_configuration(properties):
    ours = SCHEMA["config"]["variables"] if properties == "config" else SCHEMA["provider"]["inputProperties"]
    assert len(OFFICIAL["config"]) == 42
    assert set(ours) == set(OFFICIAL["config"])
    compare(ours, OFFICIAL["config"], SCHEMA["provider"].get("requiredInputs", []))


def test_outputs_of_a_provider():
    """`provider.host` and so on: every property that is text."""
    texts = {name: it for name, it in OFFICIAL["config"].items() if it["type"] == "string"}
    assert set(SCHEMA["provider"]["properties"]) == set(texts)
    compare(SCHEMA["provider"]["properties"], texts, SCHEMA["provider"].get("required", []))


def test_names_in_every_language():
    assert SCHEMA["name"] == "databricks"
    assert SCHEMA["meta"]["moduleFormat"] == "(.*)(?:/[^/]*)"
    languages = SCHEMA["language"]
    assert languages["python"]["packageName"] == "pulumi_databricks"
    assert languages["nodejs"]["packageName"] == "@pulumi/databricks"
    assert languages["go"]["importBasePath"] == "github.com/pulumi/pulumi-databricks/sdk/go/databricks"
    assert languages["csharp"]["namespaces"] == {"databricks": "Databricks"}
    # The default, com.pulumi.databricks.
    assert "basePackage" not in languages["java"]


# --- The list itself, against the SDK that PyPI has ---


def classes(file):
    # What the garbage collector runs meanwhile, such as the end of a coroutine, confuses the parser of CPython 3.11.
    gc.disable()
    try:
        tree = ast.parse((dropin.official_python() / "pulumi_databricks" / file).read_text())
    finally:
        gc.enable()
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def kind(annotation):
    text = ast.unparse(annotation)
    if "Sequence" in text:
        return {"array": "string"}
    if config := re.search(r"(\w+ProviderConfig)(Args)?\b", text):
        return config[1]
    for word, name in {"int": "integer", "bool": "boolean"}.items():
        if f"_builtins.{word}" in text or word in text and word[0].isupper():
            return name
    return "string"


def getters(node):
    """Properties of a class: the name on the wire, and what it returns."""
    for function in node.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if ast.unparse(decorator).startswith("pulumi.getter"):
                words = decorator.keywords if isinstance(decorator, ast.Call) else []
                yield (words[0].value.value if words else function.name), function.returns


def secrets_of(node):
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pulumi.ResourceOptions":
            for word in call.keywords:
                if word.arg == "additional_secret_outputs":
                    return {item.value for item in word.value.elts}
    return set()


def described(node, secrets=(), required=lambda returns: False):
    return {
        name: {"type": kind(returns)}
        | ({"required": True} if required(returns) else {})
        | ({"secret": True} if name in secrets else {})
        for name, returns in getters(node)
    }


@pytest.mark.slow
def test_the_list_is_that_of_the_official_sdk():
    token, provider, inputs = classes("token.py"), classes("provider.py"), classes("_inputs.py")
    assert described(token["TokenArgs"]) == OFFICIAL["token"]["inputs"]
    always = lambda returns: "Optional" not in ast.unparse(returns)  # noqa: E731
    assert described(token["Token"], secrets_of(token["Token"]), always) == OFFICIAL["token"]["outputs"]
    assert described(inputs["TokenProviderConfigArgs"]) == OFFICIAL["TokenProviderConfig"]
    secrets = secrets_of(provider["Provider"])
    assert described(provider["ProviderArgs"], secrets) == OFFICIAL["config"]
    texts = {name: it for name, it in OFFICIAL["config"].items() if it["type"] == "string"}
    assert described(provider["Provider"], secrets, always) == texts


@pytest.mark.parametrize(("module", "name", "key"), OTHERS)
def test_the_lists_of_the_other_credentials_are_those_of_the_official_sdk(module, name, key):
    found = classes(f"{module}.py")
    secrets = secrets_of(found[name])
    always = lambda returns: "Optional" not in ast.unparse(returns)  # noqa: E731
    given = [property for property in OFFICIAL[key]["inputs"] if property in secrets]
    assert described(found[f"{name}Args"], given, always) == OFFICIAL[key]["inputs"]
    assert described(found[name], secrets, always) == OFFICIAL[key]["outputs"]

"""Adopting what is there: lists with filters, and imports with a value, on the real engine."""

import datetime
import json
import re
import subprocess

import grpc
import pytest
import yaml
from conftest import ANY_VALUE, CREDENTIAL_TYPES, OBO_TOKEN_TYPE, ROOT, SECRET_TYPE, TOKEN_TYPE, plugin_bin, struct

DAY = 86_400


def listed(pulumi, *arguments, type=TOKEN_TYPE, ok=True):
    """Ids of what `pulumi do … list` prints; where it is to fail, all that it printed."""
    package = ["--stateless", "--package", plugin_bin()]
    result = pulumi.run("do", *package, type, "list", *arguments, "--output", "json", ok=ok)
    return [entry["id"] for entry in json.loads(result.stdout)] if ok else result.text


def guest(workspace):
    """The token of a user who is no administrator."""
    return workspace.control("/users", {"user_name": "guest@example.com"})["token"]


def time_of(workspace, days=0):
    """The date that it will be in so many days, by the workspace's clock."""
    now = datetime.datetime.fromtimestamp(workspace.control("/state")["now_ms"] / 1000, datetime.UTC)
    return (now + datetime.timedelta(days=days)).isoformat()


def test_a_list_of_tokens_by_comment_and_expiry(pulumi, workspace):
    week, _ = workspace.mint(comment="ci: a", lifetime_seconds=7 * DAY)
    month, _ = workspace.mint(comment="ci: b", lifetime_seconds=30 * DAY)
    other, _ = workspace.mint(comment="other", lifetime_seconds=7 * DAY)
    assert listed(pulumi, "--comment-prefix", "ci:") == [week, month]
    soon = time_of(workspace, days=14)
    assert listed(pulumi, "--expires-before", soon) == [week, other]
    assert listed(pulumi, "--expires-before", soon[:10], "--comment-prefix", "ci") == [week]
    assert listed(pulumi, "--workspace-id", workspace.workspace_id) == [week, month, other]


def test_a_list_for_administrators(pulumi, workspace):
    guests = guest(workspace)
    used, value = workspace.mint(comment="used")
    unused, _ = workspace.mint(comment="not used")
    status, answer = workspace.call("POST", "/api/2.0/token/create", {"comment": "of the guest"}, token=guests)
    assert status == 200
    theirs = answer["token_info"]["token_id"]
    assert theirs not in listed(pulumi)
    assert theirs in listed(pulumi, "--created-by-username", "guest@example.com")
    assert used not in listed(pulumi, "--created-by-username", "guest@example.com")
    workspace.advance(10 * DAY)
    since = time_of(workspace, days=-1)
    assert workspace.accepts(value)
    found = listed(pulumi, "--unused-since", since)
    assert unused in found and theirs in found and used not in found
    assert listed(pulumi, "--unused-since", since, "--comment-prefix", "not") == [unused]


def test_a_list_for_administrators_is_refused_to_others(pulumi, workspace):
    pulumi.env["DATABRICKS_TOKEN"] = guest(workspace)
    for flag, property in (("--created-by-username", "createdByUsername"), ("--unused-since", "unusedSince")):
        value = "2026-01-01" if flag == "--unused-since" else "somebody@example.com"
        text = listed(pulumi, flag, value, ok=False)
        assert f"{property}: only administrators of the workspace" in text, text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"expiresBefore": "soon"}, "expiresBefore: expected a time as in RFC 3339"),
        ({"unusedSince": True}, "unusedSince: expected a time"),
        ({"workspaceId": ""}, "workspaceId: must not be empty"),
        ({"createdByUsername": ""}, "createdByUsername: must not be empty"),
        ({"commentPrefx": "x"}, "commentPrefx: a list of tokens has no property `commentPrefx`; did you mean `commentPrefix`?"),
    ],
)
def test_a_filter_that_is_wrong_is_named(provider, query, message):
    with pytest.raises(grpc.RpcError) as error:
        provider.list(query=struct(query))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.value.details()


def test_a_list_of_another_workspace_is_refused(pulumi):
    assert "workspace_id mismatch" in listed(pulumi, "--workspace-id", "4711", ok=False)


def test_a_list_of_tokens_on_behalf(pulumi, workspace):
    robot = workspace.variables["DATABRICKS_CLIENT_ID"]

    def mint(comment, days):
        fields = {"application_id": robot, "comment": comment, "lifetime_seconds": days * DAY}
        path = "/api/2.0/token-management/on-behalf-of/tokens"
        status, answer = workspace.call("POST", path, fields, token=workspace.token)
        assert status == 200, answer
        return answer["token_info"]["token_id"]

    workspace.mint(comment="job: own")
    week, month = mint("job: a", 7), mint("job: b", 30)
    assert listed(pulumi, "--comment-prefix", "job:", type=OBO_TOKEN_TYPE) == [week, month]
    assert listed(pulumi, "--expires-before", time_of(workspace, days=14), type=OBO_TOKEN_TYPE) == [week]
    assert listed(pulumi, "--created-by-username", "guest@example.com", type=OBO_TOKEN_TYPE) == []


def test_a_list_of_secrets_by_expiry(pulumi, workspace):
    robot = next(it["id"] for it in workspace.control("/state")["principals"] if it["service_principal"])
    path = f"/api/2.0/accounts/servicePrincipals/{robot}/credentials/secrets"
    for days in (7, 30):
        status, answer = workspace.call("POST", path, {"lifetime": f"{days * DAY}s"}, token=workspace.token)
        assert status == 200, answer
    query = ["--service-principal-id", robot]
    everything = listed(pulumi, *query, type=SECRET_TYPE)
    soon = listed(pulumi, *query, "--expires-before", time_of(workspace, days=14), type=SECRET_TYPE)
    assert len(soon) == 1 and set(soon) < set(everything)


# --- Imports with a value ---


@pytest.fixture
def import_file(pulumi):
    """Runs `import-file` in the project's folder, with the environment of the engine; returns its CompletedProcess."""

    def run(*arguments, code=0, stdin=None, **env):
        result = subprocess.run(
            [plugin_bin(), "import-file", *map(str, arguments)],
            env=pulumi.env | env,
            cwd=pulumi.project_dir,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == code, result
        assert not ANY_VALUE.search(result.stdout + result.stderr)
        return result

    yield run
    # These files may hold values, as the test wants them to; nothing else may.
    for name in ("import.json", "values.txt"):
        (pulumi.project_dir / name).unlink(missing_ok=True)


def imported(pulumi):
    """Imports the file as a user would, adds the program that it makes, and returns what was printed."""
    pulumi.write()
    pulumi.init()
    out = pulumi.project_dir / "generated.yaml"
    result = pulumi.run("import", "--stack", "test", "--yes", "--file", "import.json", "--out", out)
    project = pulumi.project_dir / "Pulumi.yaml"
    project.write_text(project.read_text() + out.read_text())
    return result.text


def in_state(pulumi):
    """The credentials of the state by name, with their secrets in the clear."""
    resources = pulumi.export(show_secrets=True)["deployment"]["resources"]
    return {it["urn"].rsplit("::")[-1]: it for it in resources if it["type"] in CREDENTIAL_TYPES}


def value_of(resource, name="tokenValue"):
    return json.loads(resource["outputs"][name]["plaintext"])


def test_tokens_are_adopted_with_their_values(pulumi, workspace, import_file):
    first, first_value = workspace.mint(comment="ci: deploy", lifetime_seconds=30 * DAY)
    second, second_value = workspace.mint(comment="ci/deploy")
    workspace.mint(comment="other")
    (pulumi.project_dir / "values.txt").write_text(f"# kept\n{second} {second_value}\n\n{first}\t{first_value}\n")
    said = import_file("--values", "values.txt", "--comment-prefix", "ci").stdout
    assert said.startswith("import.json: 2 tokens, 2 with a value\n") and "delete the file" in said
    assert f"  ci-deploy: {first}\n  ci-deploy-2: {second}\n" in said
    path = pulumi.project_dir / "import.json"
    assert path.stat().st_mode & 0o777 == 0o600
    workspace.forget_requests()

    text = imported(pulumi)
    assert "warning" not in text
    # The engine asks nobody: it takes what the file says.
    assert workspace.requests() == []
    path.unlink()
    (pulumi.project_dir / "values.txt").unlink()
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    pulumi.unchanged()
    state = in_state(pulumi)
    assert {name: value_of(it) for name, it in state.items()} == {"ci-deploy": first_value, "ci-deploy-2": second_value}
    assert {it["id"] for it in state.values()} == {first, second}
    assert state["ci-deploy"]["inputs"] == {"comment": "ci: deploy"}


def test_the_real_lifetime_of_an_adopted_token_is_no_change(pulumi, workspace, import_file):
    token, value = workspace.mint(comment="ci", lifetime_seconds=30 * DAY)
    import_file("--values", "-", stdin=f"{token} {value}\n")
    imported(pulumi)
    options = {"protect": True}
    program = {"type": "databricks:Token", "options": options}
    pulumi.write({"ci": program | {"properties": {"comment": "ci", "lifetimeSeconds": 30 * DAY}}})
    pulumi.unchanged()
    pulumi.unchanged()
    pulumi.write({"ci": program | {"properties": {"comment": "ci", "lifetimeSeconds": 31 * DAY}}})
    assert pulumi.preview(ok=None).changes.get("create-replacement") == 1


def test_tokens_without_a_value_are_read_by_the_import(pulumi, workspace, import_file):
    known, value = workspace.mint(comment="known")
    other, _ = workspace.mint(comment="")
    said = import_file("--values", "-", stdin=f"{known} {value}").stdout
    assert "2 tokens, 1 with a value" in said and f"  token-{other[:8]}: {other}, without its value" in said
    text = imported(pulumi)
    assert text.count("tokenValue is empty after an import") >= 1
    (pulumi.project_dir / "import.json").unlink()
    pulumi.unchanged()
    state = in_state(pulumi)
    assert value_of(state["known"]) == value and value_of(state[f"token-{other[:8]}"]) == ""


def test_other_credentials_are_adopted_too(pulumi, workspace, import_file):
    robot = next(it for it in workspace.control("/state")["principals"] if it["service_principal"])
    fields = {"application_id": workspace.variables["DATABRICKS_CLIENT_ID"], "comment": "job"}
    path = "/api/2.0/token-management/on-behalf-of/tokens"
    _, job = workspace.call("POST", path, fields, token=workspace.token)
    path = f"/api/2.0/accounts/servicePrincipals/{robot['id']}/credentials/secrets"
    _, secret = workspace.call("POST", path, {"lifetime": f"{7 * DAY}s"}, token=workspace.token)
    path = pulumi.project_dir / "import.json"

    line = f"{job['token_info']['token_id']} {job['token_value']}"
    import_file("--type", "oboToken", "--values", "-", stdin=line)
    (entry,) = json.loads(path.read_text())["resources"]
    path.unlink()
    line = f"{robot['id']}|{secret['id']} {secret['secret']}"
    time = time_of(workspace, days=14)
    query = ["--service-principal-id", robot["id"], "--expires-before", time]
    import_file("--type", "servicePrincipalSecret", "--values", "-", *query, stdin=line)
    both = json.loads(path.read_text())
    assert both["resources"][0]["id"] == secret["id"]
    both["resources"].append(entry)
    path.write_text(json.dumps(both))

    text = imported(pulumi)
    # Databricks does not say whose token it is.
    assert "applicationId" in text and "is empty after an import" not in text
    path.unlink()
    project = pulumi.project_dir / "Pulumi.yaml"
    program = yaml.safe_load(project.read_text())
    program["resources"]["job"]["properties"]["applicationId"] = fields["application_id"]
    project.write_text(yaml.safe_dump(program))
    assert pulumi.up().changes == {"same": 1, "update": 1}
    pulumi.unchanged()
    state = in_state(pulumi)
    name = f"service-principal-secret-{secret['id'][:8]}"
    assert value_of(state["job"]) == job["token_value"]
    assert value_of(state[name], "secret") == secret["secret"]
    assert pulumi.refresh().changes == {"refresh": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--type", "cluster"], 2, "--type is one of Token, OboToken, ServicePrincipalSecret"),
        (["--comment", "x"], 2, "a list of tokens has no --comment; it has --comment-prefix, --expires-before"),
        (["--expires-before", "soon"], 1, "expiresBefore: expected a time"),
        (["--comment-prefix", "nothing like it"], 1, "no token matches"),
        (["--values", "absent.txt"], 2, "absent.txt: "),
        (["--values", "-", "--stack"], 2, "both read standard input"),
        (["dapi0123456789abcdef0123456789abcdef"], 2, "values are read from a file"),
        (["-x"], 2, "import-file --help"),
    ],
)
def test_what_cannot_be_done_is_said(import_file, workspace, pulumi, arguments, code, message):
    workspace.mint(comment="one")
    assert message in import_file(*arguments, code=code).stderr
    assert not (pulumi.project_dir / "import.json").exists()


def test_values_that_do_not_fit_are_refused(import_file, workspace, pulumi):
    first, value = workspace.mint(comment="one")
    second, _ = workspace.mint(comment="two")

    def refused(text):
        said = import_file("--values", "-", stdin=text, code=1).stderr
        assert not (pulumi.project_dir / "import.json").exists()
        return said

    assert f"line 1 of the values: the value is not that of token {second}" in refused(f"{second} {value}")
    # Id and value stand in the wrong order: the message must not repeat the value.
    assert "line 2 of the values: no token that matches has this id" in refused(f"\n{value} {first}")


def test_a_file_that_is_there_is_left_alone(import_file, workspace, pulumi):
    workspace.mint(comment="one")
    (pulumi.project_dir / "import.json").write_text("mine")
    assert "import.json already exists" in import_file(code=1).stderr
    assert (pulumi.project_dir / "import.json").read_text() == "mine"


def test_the_configuration_of_a_stack_is_read(import_file, workspace, pulumi):
    token, _ = workspace.mint(comment="one")
    del pulumi.env["DATABRICKS_HOST"], pulumi.env["DATABRICKS_TOKEN"]
    entries = {"host": (workspace.host, False), "token": (workspace.token, True)}
    config = {f"databricks:{name}": {"value": value, "secret": secret} for name, (value, secret) in entries.items()}
    said = import_file("--stack", "--workspace-id", workspace.workspace_id, stdin=json.dumps(config)).stdout
    assert f"one: {token}, without its value" in said
    (entry,) = json.loads((pulumi.project_dir / "import.json").read_text())["resources"]
    assert entry["inputs"] == {"comment": "one", "providerConfig": {"workspaceId": workspace.workspace_id}}


def test_the_help_names_every_filter(import_file):
    help = import_file("--help").stdout
    schema = json.loads((ROOT / "schema.json").read_text())
    for type in CREDENTIAL_TYPES:
        for name in schema["resources"][type]["listInputs"]["properties"]:
            flag = re.sub("[A-Z]", lambda match: "-" + match[0].lower(), name)
            assert f"--{flag} " in help, flag

"""Tokens in several workspaces at once, by explicit providers whose arguments have every type."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks

first, second = arguments["workspaces"]

one = databricks.Provider(
    "one",
    host=first["host"],
    token=pulumi.Output.secret(first["token"]),
    auth_type="pat",
    debug_headers=True,
    skip_verify=False,
    http_timeout_seconds=30,
    rate_limit=pulumi.Output.secret(50),
    retry_timeout_seconds=20,
    debug_truncate_bytes=96,
    scopes=["sql", pulumi.Output.secret("all-apis")],
    workspace_id=first["workspace_id"],
    # A credential of another method counts only when auth_type names that method.
    client_id="not used",
    client_secret="not used either",
)
two = databricks.Provider("two", databricks.ProviderArgs(host=second["host"], token=second["token"]))

token = databricks.Token("in-one", comment="in one", opts=pulumi.ResourceOptions(provider=one))
databricks.Token("in-two", comment="in two", opts=pulumi.ResourceOptions(provider=two))
databricks.Token("in-default", comment="in default")
# A provider that signs in with a token of the same program: its configuration is unknown in the first preview.
bootstrapped = databricks.Provider("bootstrapped", host=first["host"], token=token.token_value)
databricks.Token(
    "by-token",
    comment=token.token_id.apply(lambda id: f"made by {id}"),
    lifetime_seconds=3600,
    opts=pulumi.ResourceOptions(provider=bootstrapped),
)

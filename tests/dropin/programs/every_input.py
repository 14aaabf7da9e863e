"""A token with every input that the official SDK has."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks

token = databricks.Token(
    "every",
    comment="every input",
    lifetime_seconds=8640000,
    creation_time=1,
    expiry_time=2,
    token_id="stated",
    provider_config={"workspace_id": arguments["workspace_id"]},
)
databricks.Token("none")
databricks.Token("object", provider_config=databricks.TokenProviderConfigArgs(workspace_id=arguments["workspace_id"]))
databricks.Token("zero", comment="", lifetime_seconds=0)
databricks.Token("secret", comment=pulumi.Output.secret("hidden comment"))
# Known only once the first token exists.
databricks.Token("dependent", comment=token.token_id.apply(lambda id: f"after {id}"))

pulumi.export("comment", token.comment)
pulumi.export("lifetime_seconds", token.lifetime_seconds)
pulumi.export("creation_time", token.creation_time)
pulumi.export("expiry_time", token.expiry_time)
pulumi.export("token_id", token.token_id)
pulumi.export("token_value", token.token_value)
pulumi.export("workspace_id", token.provider_config.workspace_id)

"""Creates a Databricks personal access token and exports its id and its value."""

import pulumi
import pulumi_databricks as databricks

token = databricks.Token(
    "my-databricks-token",
    comment="Token for accessing Databricks REST API",
)

pulumi.export("token_id", token.token_id)
# Pulumi keeps the value secret: encrypted in the state, hidden in the output.
pulumi.export("token_value", pulumi.Output.secret(token.token_value))

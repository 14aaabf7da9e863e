"""A token that an ordinary `pulumi up` replaces in the last two weeks of its life."""

import pulumi
import pulumi_databricks as databricks

DAY = 24 * 60 * 60

token = databricks.Token(
    "ci",
    comment="Token of the CI",
    lifetime_seconds=90 * DAY,
    rotate_before_seconds=14 * DAY,
)

pulumi.export("tokenId", token.token_id)
pulumi.export("tokenExpiry", token.expiry_time)
# Pulumi keeps the value secret: encrypted in the state, hidden in the output.
pulumi.export("tokenValue", token.token_value)

"""Credentials alone."""

import pulumi
import pulumi_databricks as databricks

token = databricks.Token("token", comment="c")
pulumi.export("token", token.token_value)

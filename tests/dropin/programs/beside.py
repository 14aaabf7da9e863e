"""Tokens by our plugin, and something else by the plugin that the SDK asks for."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks

ours = databricks.Provider("ours", opts=pulumi.ResourceOptions(version=arguments["version"]))
databricks.Token("ours", comment="ours", opts=pulumi.ResourceOptions(provider=ours))
if arguments["others"]:
    databricks.Token("theirs", comment="theirs")

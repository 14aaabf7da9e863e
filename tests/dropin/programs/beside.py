"""A token of our plugin and, when the test says so, one of the plugin that the SDK asks for."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks

tokens = databricks.Provider("tokens", opts=pulumi.ResourceOptions(version=arguments["version"]))
databricks.Token("ours", comment="ours", opts=pulumi.ResourceOptions(provider=tokens))
if arguments["others"]:
    databricks.Token("theirs", comment="theirs")

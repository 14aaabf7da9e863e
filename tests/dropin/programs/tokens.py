"""The tokens that the test lists, each with its arguments and the name of its explicit provider, if it has one. A token
with `get` is only read, by that id."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks


def value(stated):
    """`{"secret": x}` stands for a secret."""
    if isinstance(stated, dict):
        if set(stated) == {"secret"}:
            return pulumi.Output.secret(stated["secret"])
        return {name: value(item) for name, item in stated.items()}
    return stated


providers = {
    name: databricks.Provider(name, **{key: value(item) for key, item in stated.items()})
    for name, stated in arguments.get("providers", {}).items()
}
for name, it in arguments["tokens"].items():
    if "get" in it:
        databricks.Token.get(name, it["get"])
        continue
    databricks.Token(
        name,
        opts=pulumi.ResourceOptions(provider=providers.get(it.get("provider")), protect=it.get("protect")),
        **{key: value(item) for key, item in it.get("arguments", {}).items()},
    )

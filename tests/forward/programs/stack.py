"""Types of both plugins in one program. The test says which, and with which names."""

import builtins

import pulumi
import pulumi_databricks as databricks

arguments = builtins.arguments
options = pulumi.ResourceOptions()
if "host" in arguments:
    explicit = databricks.Provider("explicit", host=arguments["host"], token=pulumi.Output.secret("explicit-token"))
    options = pulumi.ResourceOptions(provider=explicit)

name = arguments.get("name", "scope")
if arguments.get("secret_name"):
    name = pulumi.Output.secret(name)
scope = databricks.SecretScope("scope", name=name, opts=options)
pulumi.export("scope", scope.id)

if arguments.get("everything"):
    value = pulumi.Output.secret("hidden-value")
    if arguments.get("token"):
        token = databricks.Token("token", comment=scope.name)
        value = token.token_value
        pulumi.export("token", token.token_value)
    databricks.Secret("secret", scope=scope.name, key="k", string_value=value)
    databricks.Secret("plain", scope=scope.name, key="p", string_value="plain-value")
    databricks.SecretAcl("acl", scope=scope.name, principal="all", permission="READ")
    databricks.NotificationDestination(
        "destination",
        display_name="d",
        config=databricks.NotificationDestinationConfigArgs(
            slack=databricks.NotificationDestinationConfigSlackArgs(url=pulumi.Output.secret("hidden-url"), channel_id="c")
        ),
    )
    pulumi.export("user", databricks.get_current_user().user_name)
    pulumi.export("notebook", databricks.get_notebook_output(path=scope.name, format="SOURCE").content)
    hidden = databricks.get_notebook_output(path=pulumi.Output.secret("/hidden-path"), format="SOURCE")
    pulumi.export("hidden", hidden.content)

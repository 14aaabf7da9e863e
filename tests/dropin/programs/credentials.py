"""A token on behalf of a service principal and an OAuth secret of one, with the inputs that programs state for them."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks

token = databricks.OboToken(
    "obo", application_id=arguments["application_id"], comment="for a service principal", lifetime_seconds=8640000
)
secret = databricks.ServicePrincipalSecret(
    "secret", service_principal_id=arguments["service_principal_id"], lifetime="8640000s", time_rotating="first"
)

pulumi.export("token_id", token.id)
pulumi.export("token_value", token.token_value)
pulumi.export("secret_id", secret.id)
pulumi.export("secret_value", secret.secret)
pulumi.export("secret_status", secret.status)

"""A token for a CI job, in the file that the job reads its environment from."""

import os

import pulumi
import pulumi_databricks as databricks

from job_environment import JobEnvironment

DAY = 24 * 60 * 60

# Sixteen days before its end an ordinary `pulumi up`, such as a weekly one, replaces it: first comes the new token, then
# everything that uses its value, here the file, and only then is the old one revoked. The job never sees a dead token.
token = databricks.Token(
    "ci",
    comment="Nightly CI job",
    lifetime_seconds=90 * DAY,
    rotate_before_seconds=16 * DAY,
)

environment = JobEnvironment(
    "ci-job",
    file=pulumi.Config().require("file"),
    host=pulumi.Config("databricks").get("host") or os.environ["DATABRICKS_HOST"],
    token=token.token_value,
)

pulumi.export("tokenId", token.token_id)
pulumi.export("tokenExpiry", token.expiry_time)
pulumi.export("file", environment.file)

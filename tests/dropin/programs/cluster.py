"""A resource that only the official plugin has."""

import pulumi_databricks as databricks

databricks.Cluster("cluster", spark_version="15.4.x-scala2.12", num_workers=1)

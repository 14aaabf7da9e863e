// A native Pulumi provider for Databricks credentials.
package databricks

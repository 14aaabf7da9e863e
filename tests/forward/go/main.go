// The stand-in for the official plugin: a small Terraform provider behind Pulumi's own bridge, with types of the
// official package.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"pulumi-databricks/tests/forward/standin"
)

//go:embed schema.json
var schema []byte

func main() {
	info := standin.Info()
	tfbridge.Main(info.Name, info.Version, info, schema)
}

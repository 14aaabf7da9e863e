// Writes the stand-in's schema, as the bridge makes it, to stdout.
package main

import (
	"encoding/json"
	"os"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"

	"pulumi-databricks/tests/forward/standin"
)

func main() {
	sink := diag.DefaultSink(os.Stderr, os.Stderr, diag.FormatOptions{Color: colors.Never})
	result, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo: standin.Info(), DiagnosticsSink: sink, XInMemoryDocs: true,
	})
	if err != nil {
		panic(err)
	}
	spec := result.PackageSpec
	spec.Version = standin.Info().Version
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	if err := out.Encode(spec); err != nil {
		panic(err)
	}
}

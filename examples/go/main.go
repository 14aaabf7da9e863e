// A token that an ordinary `pulumi up` replaces in the last two weeks of its life.
package main

import (
	"github.com/pulumi/pulumi-databricks/sdk/go/databricks"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

const day = 24 * 60 * 60

func main() {
	pulumi.Run(program)
}

func program(ctx *pulumi.Context) error {
	token, err := databricks.NewToken(ctx, "ci", &databricks.TokenArgs{
		Comment:             pulumi.String("Token of the CI"),
		LifetimeSeconds:     pulumi.Int(90 * day),
		RotateBeforeSeconds: pulumi.Int(14 * day),
	})
	if err != nil {
		return err
	}

	ctx.Export("tokenId", token.TokenId)
	ctx.Export("tokenExpiry", token.ExpiryTime)
	// Pulumi keeps the value secret: encrypted in the state, hidden in the output.
	ctx.Export("tokenValue", token.TokenValue)
	return nil
}

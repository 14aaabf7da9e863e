// Runs `up` or `preview` of an ordinary Go Pulumi program without the Go language host.
//
// The program runs inside this process, as the inline program of a Pulumi Automation API stack. It is in package main,
// which nothing can import. So scripts/inline/run.sh copies this file beside it and builds both as a test binary, whose
// main function is TestMain below; it runs the program's function `program`, and nothing calls the program's own main.
//
// Usage: RUNNER [--stack NAME] [--expect-no-changes] up|preview

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"gopkg.in/yaml.v3"
)

func TestMain(*testing.M) {
	stackName := flag.String("stack", "demo", "the stack's name; it is made when it does not exist")
	expectNoChanges := flag.Bool("expect-no-changes", false, "fail when anything would change")
	flag.Parse()
	if err := operate(flag.Arg(0), *stackName, *expectNoChanges); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func operate(operation, stackName string, expectNoChanges bool) error {
	var project struct{ Name string }
	text, err := os.ReadFile("Pulumi.yaml")
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, &project); err != nil {
		return fmt.Errorf("Pulumi.yaml: %w", err)
	}
	ctx := context.Background()
	stack, err := auto.UpsertStackInlineSource(ctx, stackName, project.Name, program, auto.WorkDir("."))
	if err != nil {
		return err
	}
	switch operation {
	case "up":
		options := []optup.Option{optup.ProgressStreams(os.Stdout), optup.ErrorProgressStreams(os.Stderr)}
		if expectNoChanges {
			options = append(options, optup.ExpectNoChanges())
		}
		_, err = stack.Up(ctx, options...)
	case "preview":
		options := []optpreview.Option{optpreview.ProgressStreams(os.Stdout), optpreview.ErrorProgressStreams(os.Stderr)}
		if expectNoChanges {
			options = append(options, optpreview.ExpectNoChanges())
		}
		_, err = stack.Preview(ctx, options...)
	default:
		return fmt.Errorf("unknown operation %q: use up or preview", operation)
	}
	return err
}

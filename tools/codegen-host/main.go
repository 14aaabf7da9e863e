// Command codegen-host is a language host that writes programs and runs none.
//
// `pulumi convert` and `pulumi import` ask the host of a language for program text. The hosts of Python, Node.js and Go
// cannot be had as Go modules, but the generators inside them can: this program serves just these. Its own file name,
// pulumi-language-python for example, says which one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	gogen "github.com/pulumi/pulumi/pkg/v3/codegen/go"
	"github.com/pulumi/pulumi/pkg/v3/codegen/hcl2/syntax"
	nodegen "github.com/pulumi/pulumi/pkg/v3/codegen/nodejs"
	"github.com/pulumi/pulumi/pkg/v3/codegen/pcl"
	pythongen "github.com/pulumi/pulumi/pkg/v3/codegen/python"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// generator writes the text of one program, or the folder of a whole project.
type generator struct {
	program func(*pcl.Program) (map[string][]byte, hcl.Diagnostics, error)
	project func(folder string, project workspace.Project, program *pcl.Program, dependencies map[string]string) error
}

var generators = map[string]generator{
	"python": {
		program: pythongen.GenerateProgram,
		project: func(folder string, project workspace.Project, program *pcl.Program, dependencies map[string]string) error {
			return pythongen.GenerateProject(folder, project, program, dependencies, "", "")
		},
	},
	"nodejs": {
		program: nodegen.GenerateProgram,
		project: func(folder string, project workspace.Project, program *pcl.Program, dependencies map[string]string) error {
			return nodegen.GenerateProject(folder, project, program, dependencies, false, "nodejs")
		},
	},
	"go": {program: gogen.GenerateProgram, project: gogen.GenerateProject},
}

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	generator
}

// GetPluginInfo answers what every plugin is asked first.
func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version.Version}, nil
}

// GenerateProgram serves `pulumi import`.
func (h *host) GenerateProgram(
	_ context.Context, request *pulumirpc.GenerateProgramRequest,
) (*pulumirpc.GenerateProgramResponse, error) {
	loader, err := schema.NewLoaderClient(request.LoaderTarget)
	if err != nil {
		return nil, err
	}
	parser := syntax.NewParser()
	for name, text := range request.Source {
		if err := parser.ParseFile(strings.NewReader(text), name); err != nil {
			return nil, err
		}
	}
	if parser.Diagnostics.HasErrors() {
		return nil, parser.Diagnostics
	}
	options := []pcl.BindOption{}
	if !request.Strict {
		options = pcl.NonStrictBindOptions()
	}
	program, problems, err := pcl.BindProgram(parser.Files, loader, options...)
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		return &pulumirpc.GenerateProgramResponse{Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(problems)}, nil
	}
	files, more, err := h.program(program)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.GenerateProgramResponse{
		Source:      files,
		Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(append(problems, more...)),
	}, nil
}

// GenerateProject serves `pulumi convert`.
func (h *host) GenerateProject(
	_ context.Context, request *pulumirpc.GenerateProjectRequest,
) (*pulumirpc.GenerateProjectResponse, error) {
	loader, err := schema.NewLoaderClient(request.LoaderTarget)
	if err != nil {
		return nil, err
	}
	var project workspace.Project
	if err := json.Unmarshal([]byte(request.Project), &project); err != nil {
		return nil, fmt.Errorf("the project: %w", err)
	}
	options := []pcl.BindOption{}
	if !request.Strict {
		options = pcl.NonStrictBindOptions()
	}
	program, problems, err := pcl.BindDirectory(request.SourceDirectory, loader, options...)
	if err != nil {
		return nil, err
	}
	if !problems.HasErrors() {
		if program == nil {
			return nil, errors.New("nothing to convert")
		}
		if err := h.project(request.TargetDirectory, project, program, request.LocalDependencies); err != nil {
			return nil, err
		}
	}
	return &pulumirpc.GenerateProjectResponse{Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(problems)}, nil
}

// Link would connect a project with generated SDKs; those of sdk/ need nothing.
func (h *host) Link(context.Context, *pulumirpc.LinkRequest) (*pulumirpc.LinkResponse, error) {
	return &pulumirpc.LinkResponse{}, nil
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	language := strings.TrimPrefix(filepath.Base(os.Args[0]), "pulumi-language-")
	generator, ok := generators[language]
	if !ok {
		return fmt.Errorf("%s: call this program pulumi-language-python, -nodejs or -go", os.Args[0])
	}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(server, &host{generator: generator})
			return nil
		},
	})
	if err != nil {
		return err
	}
	// The engine reads from here where to connect, and ends this process when it is done.
	fmt.Println(handle.Port)
	return <-handle.Done
}

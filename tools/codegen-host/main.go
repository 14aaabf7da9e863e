// Command codegen-host is a language host that writes programs and SDKs, and runs none.
//
// `pulumi convert` and `pulumi import` ask the host of a language for program text, `pulumi package add` for an SDK. The
// hosts of Python, Node.js and Go cannot be had as Go modules, but the generators inside them can: this program serves
// just these. Its own file name, pulumi-language-python for example, says which one.
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

// The name in the first line of generated files.
const tool = "pulumi-language-host"

// generator writes the text of one program, the folder of a whole project, or an SDK.
type generator struct {
	program func(*pcl.Program) (map[string][]byte, hcl.Diagnostics, error)
	project func(folder string, project workspace.Project, program *pcl.Program, dependencies map[string]string) error
	sdk     func(pkg *schema.Package, loader schema.ReferenceLoader) (map[string][]byte, error)
}

var generators = map[string]generator{
	"python": {
		program: pythongen.GenerateProgram,
		project: func(folder string, project workspace.Project, program *pcl.Program, dependencies map[string]string) error {
			return pythongen.GenerateProject(folder, project, program, dependencies, "", "")
		},
		sdk: func(pkg *schema.Package, loader schema.ReferenceLoader) (map[string][]byte, error) {
			return pythongen.GeneratePackage(tool, pkg, nil, loader)
		},
	},
	"nodejs": {
		program: nodegen.GenerateProgram,
		project: func(folder string, project workspace.Project, program *pcl.Program, dependencies map[string]string) error {
			return nodegen.GenerateProject(folder, project, program, dependencies, false, "nodejs")
		},
		sdk: func(pkg *schema.Package, loader schema.ReferenceLoader) (map[string][]byte, error) {
			return nodegen.GeneratePackage(tool, pkg, nil, nil, true, loader)
		},
	},
	"go": {
		program: gogen.GenerateProgram,
		project: gogen.GenerateProject,
		sdk: func(pkg *schema.Package, _ schema.ReferenceLoader) (map[string][]byte, error) {
			return gogen.GeneratePackage(tool, pkg, nil)
		},
	},
}

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	generator
}

// GetPluginInfo answers the engine's first request to any plugin.
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

// GeneratePackage serves `pulumi package add`.
func (h *host) GeneratePackage(
	_ context.Context, request *pulumirpc.GeneratePackageRequest,
) (*pulumirpc.GeneratePackageResponse, error) {
	loader, err := schema.NewLoaderClient(request.LoaderTarget)
	if err != nil {
		return nil, err
	}
	var spec schema.PackageSpec
	if err := json.Unmarshal([]byte(request.Schema), &spec); err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	cached := schema.NewCachedLoader(loader)
	pkg, problems, err := schema.BindSpec(spec, cached, schema.ValidationOptions{AllowDanglingReferences: true})
	if err != nil {
		return nil, err
	}
	if !problems.HasErrors() {
		files, err := h.sdk(pkg, cached)
		if err != nil {
			return nil, err
		}
		for name, content := range files {
			path := filepath.Join(request.Directory, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return nil, err
			}
		}
	}
	return &pulumirpc.GeneratePackageResponse{Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(problems)}, nil
}

// Link would connect a project with generated SDKs; those of sdk/ need nothing, and tests connect the others themselves.
func (h *host) Link(context.Context, *pulumirpc.LinkRequest) (*pulumirpc.LinkResponse, error) {
	return &pulumirpc.LinkResponse{}, nil
}

// InstallDependencies would fetch what a project needs.
func (h *host) InstallDependencies(
	*pulumirpc.InstallDependenciesRequest, grpc.ServerStreamingServer[pulumirpc.InstallDependenciesResponse],
) error {
	return nil
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
	// The engine reads from stdout where to connect, and ends this process when it is done.
	fmt.Println(handle.Port)
	return <-handle.Done
}

// Command gen-sdk writes the SDKs of a Pulumi package from its schema.
//
// It calls the code generators that `pulumi package gen-sdk` calls. That command needs a language host of every
// language on PATH, and the hosts of Python, Node.js and Go cannot be had as Go modules; their generators can.
//
// Usage: gen-sdk --schema schema.json --out sdk [--language python|nodejs|go|java|dotnet|all]
//
// Every language goes to its own folder under --out. Folders are not emptied first: point --out at an empty one.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	dotnetgen "github.com/pulumi/pulumi-dotnet/pulumi-language-dotnet/v3/codegen"
	javagen "github.com/pulumi/pulumi-java/pkg/codegen/java"
	gogen "github.com/pulumi/pulumi/pkg/v3/codegen/go"
	nodegen "github.com/pulumi/pulumi/pkg/v3/codegen/nodejs"
	pythongen "github.com/pulumi/pulumi/pkg/v3/codegen/python"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
)

// tool is what the header line of every generated file names as its origin.
const tool = "gen-sdk"

// The Go SDK's go.mod asks for the versions that its code was generated and tested with.
const goModTemplate = `module %s

go 1.25.0

require (
	github.com/blang/semver v3.5.1+incompatible
	github.com/pulumi/pulumi/sdk/v3 v3.259.0
)
`

//go:embed logo.png
var logo []byte

var languages = []string{"python", "nodejs", "go", "java", "dotnet"}

func main() {
	schemaPath := flag.String("schema", "", "the package's schema.json")
	out := flag.String("out", "", "folder that receives one folder per language")
	language := flag.String("language", "all", strings.Join(languages, ", ")+" (comma-separated) or all")
	flag.Parse()
	if err := run(*schemaPath, *out, *language); err != nil {
		fmt.Fprintln(os.Stderr, "gen-sdk: "+err.Error())
		os.Exit(1)
	}
}

func run(schemaPath, out, language string) error {
	if schemaPath == "" || out == "" {
		return errors.New("--schema and --out are both needed")
	}
	wanted := languages
	if language != "all" {
		wanted = strings.Split(language, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(languages, name) {
			return fmt.Errorf("unknown language %q: use %s or all", name, strings.Join(languages, ", "))
		}
	}
	text, err := os.ReadFile(schemaPath)
	if err != nil {
		return err
	}
	for _, name := range wanted {
		// The generators change the package that they are given, so each one gets its own.
		var spec schema.PackageSpec
		if err := json.Unmarshal(text, &spec); err != nil {
			return fmt.Errorf("%s: %w", schemaPath, err)
		}
		files, err := generate(name, spec)
		if err != nil {
			return fmt.Errorf("%s SDK from %s: %w", name, schemaPath, err)
		}
		if err := write(filepath.Join(out, name), files); err != nil {
			return err
		}
	}
	return nil
}

func generate(language string, spec schema.PackageSpec) (map[string][]byte, error) {
	if language == "java" {
		// The Java host merges types whose names differ only in case; without that its generator may fail.
		deduplicated, diagnostics, err := javagen.DeduplicateTypes(&spec)
		if err != nil {
			return nil, err
		}
		if diagnostics.HasErrors() {
			return nil, problems(diagnostics)
		}
		spec = *deduplicated
	}
	if len(spec.Dependencies) > 0 {
		// Their schemas would come from a loader, and the generators below are given none.
		return nil, errors.New("packages that depend on other packages are not supported")
	}
	pkg, diagnostics, err := schema.BindSpec(spec, schema.NewNullLoader(), schema.ValidationOptions{})
	if err != nil {
		return nil, err
	}
	if diagnostics.HasErrors() {
		return nil, problems(diagnostics)
	}
	switch language {
	case "python":
		files, err := pythongen.GeneratePackage(tool, pkg, nil, nil)
		if err != nil {
			return nil, err
		}
		// pyproject.toml names a README beside it, and the generator writes one into the package only.
		files["README.md"] = files["pulumi_"+pkg.Name+"/README.md"]
		return files, nil
	case "nodejs":
		return nodegen.GeneratePackage(tool, pkg, nil, nil, false, nil)
	case "go":
		files, err := gogen.GeneratePackage(tool, pkg, nil)
		if err != nil {
			return nil, err
		}
		return files, addGoMod(spec, files)
	case "java":
		return javagen.GeneratePackage(tool, pkg, nil, nil, false, false)
	default:
		return generateDotnet(pkg)
	}
}

// problems puts what is wrong with a schema on a line each. Its diagnostics name no position in the file.
func problems(diagnostics hcl.Diagnostics) error {
	var text strings.Builder
	for _, diagnostic := range diagnostics.Errs() {
		text.WriteString("\n  " + strings.TrimPrefix(diagnostic.Error(), "<nil>: "))
	}
	return errors.New("the schema is not valid:" + text.String())
}

// addGoMod makes the Go SDK a module. Its generator writes packages only. The module's root is where the import path
// of the package, shortened by the module's path, says it is.
func addGoMod(spec schema.PackageSpec, files map[string][]byte) error {
	var info struct {
		ImportBasePath string `json:"importBasePath"`
		ModulePath     string `json:"modulePath"`
	}
	if raw, ok := spec.Language["go"]; ok {
		if err := json.Unmarshal(raw, &info); err != nil {
			return fmt.Errorf("language.go of the schema: %w", err)
		}
	}
	if info.ModulePath == "" {
		return errors.New("language.go.modulePath of the schema is needed for go.mod")
	}
	inside, ok := strings.CutPrefix(info.ImportBasePath, info.ModulePath+"/")
	if !ok {
		return fmt.Errorf("language.go.importBasePath %q of the schema does not lie inside modulePath %q",
			info.ImportBasePath, info.ModulePath)
	}
	root := ".."
	if inside == spec.Name {
		root = "."
	} else if inside != "go/"+spec.Name {
		return fmt.Errorf("language.go.importBasePath %q of the schema must be modulePath followed by /%s or /go/%s",
			info.ImportBasePath, spec.Name, spec.Name)
	}
	files[filepath.Join(root, "go.mod")] = fmt.Appendf(nil, goModTemplate, info.ModulePath)
	return nil
}

// generateDotnet serves the package's logo from loopback while the generator runs: that generator always downloads
// one, and a build must neither need the network nor depend on what an address answers today.
func generateDotnet(pkg *schema.Package) (map[string][]byte, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(logo)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	pkg.LogoURL = "http://" + listener.Addr().String() + "/logo.png"
	return dotnetgen.GeneratePackage(tool, pkg, nil, nil)
}

func write(folder string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

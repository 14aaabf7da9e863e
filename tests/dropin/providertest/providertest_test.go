// Package providertest runs the plugin under Pulumi's own test library for providers: attached to an engine that finds
// it running, and started by the engine.
//
// PLUGIN_BIN and LOCAL_WORKSPACE_BIN are the programs under test, ENGINE_BIN_DIR the folder of pulumi and
// pulumi-language-yaml.
package providertest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/providertest/pulumitest"
	"github.com/pulumi/providertest/pulumitest/assertpreview"
	"github.com/pulumi/providertest/pulumitest/assertrefresh"
	"github.com/pulumi/providertest/pulumitest/assertup"
	"github.com/pulumi/providertest/pulumitest/opttest"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// workspace is a local Databricks workspace that ends with the test.
type workspace struct {
	host, token string
}

func startWorkspace(t *testing.T) workspace {
	t.Helper()
	process := exec.Command(os.Getenv("LOCAL_WORKSPACE_BIN"), "--exit-on-stdin-eof")
	stdin, err := process.StdinPipe()
	must(t, err)
	stdout, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	t.Cleanup(func() {
		stdin.Close()
		if err := process.Wait(); err != nil {
			t.Errorf("the local workspace: %v", err)
		}
	})
	values := map[string]string{}
	lines := bufio.NewScanner(stdout)
	for len(values) < 2 && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		values[name] = value
	}
	must(t, lines.Err())
	return workspace{values["DATABRICKS_HOST"], values["DATABRICKS_TOKEN"]}
}

// comments returns the comments of the live tokens, by id.
func (w workspace) comments(t *testing.T) map[string]string {
	t.Helper()
	answer, err := http.Get(w.host + "/local/control/state")
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	var state struct {
		Tokens []struct {
			ID, Comment string
			Live        bool
		}
	}
	must(t, json.Unmarshal(body, &state))
	found := map[string]string{}
	for _, token := range state.Tokens {
		if token.Live {
			found[token.ID] = token.Comment
		}
	}
	return found
}

// accepts reports whether a token value opens the workspace.
func (w workspace) accepts(t *testing.T, value string) bool {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, w.host+"/api/2.0/token/list", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+value)
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start prepares a program whose plugin is attached, or started by the engine. Only the engine's folder is on PATH.
func start(t *testing.T, program string, w workspace, plugin opttest.Option) *pulumitest.PulumiTest {
	t.Helper()
	t.Setenv("PATH", os.Getenv("ENGINE_BIN_DIR"))
	t.Setenv("HOME", t.TempDir())
	// A process that is attached has the environment of this one, and a plugin that is started has that of the engine.
	t.Setenv("DATABRICKS_HOST", w.host)
	t.Setenv("DATABRICKS_TOKEN", w.token)
	t.Setenv("NO_PROXY", "127.0.0.1,localhost")
	t.Setenv("PULUMI_IGNORE_AMBIENT_PLUGINS", "true")
	t.Setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
	return pulumitest.NewPulumiTest(t, program, plugin, opttest.SkipInstall())
}

func plugins(t *testing.T) map[string]opttest.Option {
	t.Helper()
	plugin := os.Getenv("PLUGIN_BIN")
	// The engine measures the size of the folder where it finds a plugin, and the folder of a build is large.
	folder := t.TempDir()
	must(t, os.Symlink(plugin, filepath.Join(folder, filepath.Base(plugin))))
	return map[string]opttest.Option{
		"attached": opttest.AttachProviderBinary("databricks", plugin),
		"spawned":  opttest.LocalProviderPath("databricks", folder),
	}
}

func TestLifeOfAToken(t *testing.T) {
	for name, plugin := range plugins(t) {
		t.Run(name, func(t *testing.T) {
			w := startWorkspace(t)
			test := start(t, "token", w, plugin)

			test.Preview(t)
			if found := w.comments(t); len(found) != 0 {
				t.Fatalf("a preview made %v", found)
			}
			created := test.Up(t)
			id, value := text(t, created, "id"), created.Outputs["value"]
			if !value.Secret || !w.accepts(t, value.Value.(string)) {
				t.Fatal("the value of the token is not secret, or does not work")
			}
			if found := w.comments(t); len(found) != 1 || found[id] != "first" {
				t.Fatalf("not one token with the comment first: %v", found)
			}
			assertpreview.HasNoChanges(t, test.Preview(t))
			assertup.HasNoChanges(t, test.Up(t))
			assertrefresh.HasNoChanges(t, test.Refresh(t))
			assertpreview.HasNoChanges(t, test.Preview(t))

			test.SetConfig(t, "comment", "second")
			replaced := test.Up(t)
			if changes := *replaced.Summary.ResourceChanges; changes[string(apitype.OpReplace)] != 1 {
				t.Fatalf("a changed comment does not replace: %v", changes)
			}
			if found := w.comments(t); len(found) != 1 || found[text(t, replaced, "id")] != "second" {
				t.Fatalf("not one token with the comment second: %v", found)
			}
			if w.accepts(t, value.Value.(string)) {
				t.Fatal("the old token was not revoked")
			}
			test.Destroy(t)
			if found := w.comments(t); len(found) != 0 {
				t.Fatalf("destroy left %v", found)
			}
		})
	}
}

// stateOf returns the state of the resource of that name.
func stateOf(t *testing.T, test *pulumitest.PulumiTest, name string) apitype.ResourceV3 {
	t.Helper()
	var deployment apitype.DeploymentV3
	must(t, json.Unmarshal(test.ExportStack(t).Deployment, &deployment))
	for _, resource := range deployment.Resources {
		if resource.URN.Name() == name {
			return resource
		}
	}
	t.Fatalf("the state has no resource %s", name)
	panic("not reached")
}

// isSecret reports whether a value of an exported state is marked as secret. The export shows secrets.
func isSecret(value any) bool {
	object, ok := value.(map[string]any)
	return ok && object["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"
}

func text(t *testing.T, result auto.UpResult, output string) string {
	t.Helper()
	value, ok := result.Outputs[output].Value.(string)
	if !ok {
		t.Fatalf("the output %s is no string", output)
	}
	return value
}

func TestNativeValuesAndProviders(t *testing.T) {
	for name, plugin := range plugins(t) {
		t.Run(name, func(t *testing.T) {
			w := startWorkspace(t)
			test := start(t, "several", w, plugin)
			test.SetConfig(t, "host", w.host)
			must(t, test.CurrentStack().SetConfig(test.Context(), "credential", auto.ConfigValue{Value: w.token, Secret: true}))
			test.Up(t)
			if found := w.comments(t); len(found) != 2 {
				t.Fatalf("not two tokens: %v", found)
			}
			assertpreview.HasNoChanges(t, test.Preview(t))
			assertrefresh.HasNoChanges(t, test.Refresh(t))
			assertpreview.HasNoChanges(t, test.Preview(t))
			if credential := stateOf(t, test, "provider").Inputs["token"]; !isSecret(credential) {
				t.Fatal("the state holds the credential in the clear")
			}
			if value := stateOf(t, test, "implicit").Outputs["tokenValue"]; !isSecret(value) {
				t.Fatal("the state holds the value of the token in the clear")
			}
			test.Destroy(t)
			if found := w.comments(t); len(found) != 0 {
				t.Fatalf("destroy left %v", found)
			}
		})
	}
}

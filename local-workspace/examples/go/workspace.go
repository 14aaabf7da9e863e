// Package localworkspace starts a local Databricks workspace for tests. Copy this file into your own project; it uses
// nothing but the standard library.
package localworkspace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Workspace is a running workspace.
type Workspace struct {
	Host, Token, ClientID, ClientSecret string
	t                                   testing.TB
}

// Start starts a workspace that ends with the test. LOCAL_WORKSPACE_BIN names the program; if it is not set, the
// program is looked up on PATH.
func Start(t testing.TB, options ...string) *Workspace {
	t.Helper()
	program := os.Getenv("LOCAL_WORKSPACE_BIN")
	if program == "" {
		program = "databricks-local-workspace"
	}
	command := exec.Command(program, append([]string{"--service-principal", "--exit-on-stdin-eof"}, options...)...)
	// The program ends when this pipe does, so it never outlives this process.
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		command.Wait()
	})
	values := map[string]string{}
	lines := bufio.NewScanner(stdout)
	for len(values) < 4 && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		values[name] = value
	}
	if len(values) < 4 {
		t.Fatalf("%s did not start; what it wrote to stderr says why", program)
	}
	return &Workspace{
		Host:         values["DATABRICKS_HOST"],
		Token:        values["DATABRICKS_TOKEN"],
		ClientID:     values["DATABRICKS_CLIENT_ID"],
		ClientSecret: values["DATABRICKS_CLIENT_SECRET"],
		t:            t,
	}
}

// Control calls the control API. Without a body it is a GET.
func (w *Workspace) Control(path string, body any) map[string]any {
	w.t.Helper()
	method, content := http.MethodGet, io.Reader(nil)
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		method, content = http.MethodPost, bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, w.Host+"/local/control/"+path, content)
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, response.Status, text)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	// The answer of "faults" is a list, which is not needed here.
	answer := map[string]any{}
	_ = json.Unmarshal(text, &answer)
	return answer
}

// Advance moves the workspace's clock forward.
func (w *Workspace) Advance(by time.Duration) {
	w.t.Helper()
	w.Control("clock", map[string]any{"advance_ms": by.Milliseconds()})
}

// Fault makes the next request whose path contains path fail; action says how.
func (w *Workspace) Fault(path string, action map[string]any) {
	w.t.Helper()
	w.Control("faults", map[string]any{"match": map[string]any{"path": path}, "action": action})
}

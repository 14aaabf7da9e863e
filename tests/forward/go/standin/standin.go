// Package standin is a Terraform provider with a few types of the official Databricks plugin. What it creates are files
// in the folder STAND_IN_STATE; each of its calls adds a line to calls.jsonl there.
//
// The beginning of a scope's name asks for a fault: "half-" creates the scope and fails all the same, "slow-" waits
// until there is a file "go" in the folder, "crash-" ends the process in mid-create, and "echo-" fails with everything
// secret in the message.
package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
)

// Version is a version of the official plugin; the SDK that was published for it knows the types.
const Version = "1.118.0"

// Info describes the provider to the bridge.
func Info() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            shim.NewProvider(Provider()),
		Name:         "databricks",
		DisplayName:  "Databricks",
		Version:      Version,
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
		// The same as in the official package: they decide what an SDK of both plugins looks like.
		JavaScript: &tfbridge.JavaScriptInfo{
			Dependencies:         map[string]string{"@pulumi/pulumi": "^3.0.0"},
			DevDependencies:      map[string]string{"@types/node": "^10.0.0", "@types/mime": "^2.0.0"},
			RespectSchemaVersion: true,
		},
		Python: &tfbridge.PythonInfo{
			Requires:             map[string]string{"pulumi": ">=3.0.0,<4.0.0"},
			RespectSchemaVersion: true,
			PyProject:            struct{ Enabled bool }{true},
		},
		Golang: &tfbridge.GolangInfo{
			ImportBasePath:                 "github.com/pulumi/pulumi-databricks/sdk/go/databricks",
			GenerateResourceContainerTypes: true,
			RespectSchemaVersion:           true,
		},
		CSharp: &tfbridge.CSharpInfo{
			PackageReferences:    map[string]string{"Pulumi": "3.*"},
			RespectSchemaVersion: true,
		},
	}
	info.MustComputeTokens(tokens.SingleModule("databricks_", "index", tokens.MakeStandard("databricks")))
	return info
}

// workspace says where a workspace is, and with which credential to sign in.
type workspace struct{ Host, Token string }

// call is a line of calls.jsonl.
type call struct {
	Op, Type, ID string
	Pid          int
	Host         string
	Fields       map[string]any `json:",omitempty"`
}

func (w workspace) record(op, kind, id string, fields map[string]any) {
	line, err := json.Marshal(call{op, kind, id, os.Getpid(), w.Host, fields})
	if err != nil {
		panic(err)
	}
	file, err := os.OpenFile(filepath.Join(folder(), "calls.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := file.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func folder() string {
	folder := os.Getenv("STAND_IN_STATE")
	if folder == "" {
		panic("STAND_IN_STATE is not set")
	}
	return folder
}

func path(kind, id string) string {
	return filepath.Join(folder(), kind+"-"+strings.NewReplacer("/", "_", "|", "_").Replace(id)+".json")
}

// kind is a type of object: its fields, how its id follows from them, and what the service adds.
type kind struct {
	name    string
	id      func(d *schema.ResourceData) string
	compute func(d *schema.ResourceData) map[string]any
	fields  map[string]*schema.Schema
}

func (k kind) save(d *schema.ResourceData, w workspace, op string) error {
	fields := map[string]any{}
	for name := range k.fields {
		fields[name] = d.Get(name)
	}
	for name, value := range k.compute(d) {
		fields[name] = value
	}
	w.record(op, k.name, d.Id(), fields)
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return os.WriteFile(path(k.name, d.Id()), text, 0o600)
}

func (k kind) load(d *schema.ResourceData) error {
	text, err := os.ReadFile(path(k.name, d.Id()))
	if errors.Is(err, os.ErrNotExist) {
		d.SetId("")
		return nil
	}
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	for name, value := range fields {
		if err := d.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (k kind) create(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	w := meta.(workspace)
	id := k.id(d)
	fault, _, _ := strings.Cut(id, "-")
	switch fault {
	case "echo":
		return diag.Errorf("cannot create %s with %s and %v", id, w.Token, d.Get("string_value"))
	case "slow":
		w.record("wait", k.name, id, nil)
		for {
			if _, err := os.Stat(filepath.Join(folder(), "go")); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				w.record("cancelled", k.name, id, nil)
				return diag.Errorf("cancelled while creating %s", id)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	d.SetId(id)
	if err := k.save(d, w, "create"); err != nil {
		return diag.FromErr(err)
	}
	if fault == "crash" {
		fmt.Fprintf(os.Stderr, "panic: cannot go on with %s\n", w.Token)
		os.Exit(3)
	}
	if fault == "half" {
		return diag.Errorf("%s is created, and what follows failed", id)
	}
	return diag.FromErr(k.load(d))
}

func (k kind) resource() *schema.Resource {
	return &schema.Resource{
		Schema:        k.fields,
		CreateContext: k.create,
		ReadContext: func(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
			meta.(workspace).record("read", k.name, d.Id(), nil)
			return diag.FromErr(k.load(d))
		},
		UpdateContext: func(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
			return diag.FromErr(k.save(d, meta.(workspace), "update"))
		},
		DeleteContext: func(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
			meta.(workspace).record("delete", k.name, d.Id(), nil)
			return diag.FromErr(os.Remove(path(k.name, d.Id())))
		},
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
	}
}

func required() *schema.Schema {
	return &schema.Schema{Type: schema.TypeString, Required: true, ForceNew: true}
}

func none(*schema.ResourceData) map[string]any { return nil }

var kinds = []kind{
	{
		name:    "secret_scope",
		id:      func(d *schema.ResourceData) string { return d.Get("name").(string) },
		compute: func(*schema.ResourceData) map[string]any { return map[string]any{"backend_type": "DATABRICKS"} },
		fields: map[string]*schema.Schema{
			"name":                     required(),
			"initial_manage_principal": {Type: schema.TypeString, Optional: true, ForceNew: true},
			"backend_type":             {Type: schema.TypeString, Optional: true, Computed: true},
		},
	},
	{
		name: "secret",
		id: func(d *schema.ResourceData) string {
			return d.Get("scope").(string) + "|||" + d.Get("key").(string)
		},
		compute: func(d *schema.ResourceData) map[string]any {
			reference := fmt.Sprintf("{{secrets/%s/%s}}", d.Get("scope"), d.Get("key"))
			return map[string]any{"config_reference": reference, "last_updated_timestamp": 1700000000000}
		},
		fields: map[string]*schema.Schema{
			"scope":                  required(),
			"key":                    required(),
			"string_value":           {Type: schema.TypeString, Required: true, Sensitive: true},
			"config_reference":       {Type: schema.TypeString, Computed: true},
			"last_updated_timestamp": {Type: schema.TypeInt, Computed: true},
		},
	},
	{
		name: "secret_acl",
		id: func(d *schema.ResourceData) string {
			return d.Get("scope").(string) + "|||" + d.Get("principal").(string)
		},
		compute: none,
		fields:  map[string]*schema.Schema{"scope": required(), "principal": required(), "permission": required()},
	},
	{
		name:    "notification_destination",
		id:      func(d *schema.ResourceData) string { return d.Get("display_name").(string) },
		compute: func(*schema.ResourceData) map[string]any { return map[string]any{"destination_type": "SLACK"} },
		fields: map[string]*schema.Schema{
			"display_name":     {Type: schema.TypeString, Required: true},
			"destination_type": {Type: schema.TypeString, Computed: true},
			"config": {Type: schema.TypeList, Optional: true, MaxItems: 1, Elem: &schema.Resource{
				Schema: map[string]*schema.Schema{
					"slack": {Type: schema.TypeList, Optional: true, MaxItems: 1, Elem: &schema.Resource{
						Schema: map[string]*schema.Schema{
							"url":        {Type: schema.TypeString, Optional: true},
							"channel_id": {Type: schema.TypeString, Optional: true},
						},
					}},
				},
			}},
		},
	},
}

// Provider is the Terraform provider.
func Provider() *schema.Provider {
	optional := func() *schema.Schema { return &schema.Schema{Type: schema.TypeString, Optional: true} }
	text := &schema.Schema{Type: schema.TypeString, Computed: true}
	token := optional()
	token.Sensitive = true
	provider := &schema.Provider{
		Schema:       map[string]*schema.Schema{"host": optional(), "token": token, "profile": optional()},
		ResourcesMap: map[string]*schema.Resource{},
		DataSourcesMap: map[string]*schema.Resource{
			"databricks_current_user": {
				Schema: map[string]*schema.Schema{"user_name": text, "home": text, "workspace_url": text},
				ReadContext: func(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
					w := meta.(workspace)
					w.record("invoke", "current_user", "me", nil)
					d.SetId("me")
					fields := map[string]string{"user_name": "me", "home": "/Users/me", "workspace_url": w.Host}
					for name, value := range fields {
						if err := d.Set(name, value); err != nil {
							return diag.FromErr(err)
						}
					}
					return nil
				},
			},
			"databricks_notebook": {
				Schema: map[string]*schema.Schema{
					"path":    {Type: schema.TypeString, Required: true},
					"format":  {Type: schema.TypeString, Required: true},
					"content": text,
				},
				ReadContext: func(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
					meta.(workspace).record("invoke", "notebook", d.Get("path").(string), nil)
					d.SetId(d.Get("path").(string))
					return diag.FromErr(d.Set("content", "of "+d.Get("path").(string)))
				},
			},
		},
		ConfigureContextFunc: func(_ context.Context, d *schema.ResourceData) (any, diag.Diagnostics) {
			or := func(stated any, variable string) string {
				if stated.(string) != "" {
					return stated.(string)
				}
				return os.Getenv(variable)
			}
			w := workspace{or(d.Get("host"), "DATABRICKS_HOST"), or(d.Get("token"), "DATABRICKS_TOKEN")}
			w.record("configure", "provider", "", nil)
			if w.Host == "http://refused.invalid" {
				return nil, diag.Errorf("this workspace is refused to %s", w.Token)
			}
			return w, nil
		},
	}
	for _, kind := range kinds {
		provider.ResourcesMap["databricks_"+kind.name] = kind.resource()
	}
	return provider
}

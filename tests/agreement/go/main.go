// Signs in with the unmodified Databricks SDK for Go, in the environment that it is started with, and lists the
// tokens of the workspace. Standard input states the configuration as an object of attribute names (those of
// .databrickscfg) and values; standard output says what went wrong, if anything did. The server sees what was sent.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/service/settings"
)

func configured(stated map[string]any) (*config.Config, error) {
	cfg := &config.Config{}
	known := map[string]config.ConfigAttribute{}
	for _, attribute := range config.ConfigAttributes {
		known[attribute.Name] = attribute
	}
	for name, value := range stated {
		attribute, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("the SDK has no attribute %s", name)
		}
		switch it := value.(type) {
		case float64:
			value = int(it)
		case []any:
			items := []string{}
			for _, item := range it {
				items = append(items, item.(string))
			}
			value = items
		}
		if err := attribute.Set(cfg, value); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

func list(cfg *config.Config) error {
	it, err := client.New(cfg)
	if err != nil {
		return err
	}
	tokens := settings.NewTokens(it)
	if _, err = tokens.ListAll(context.Background()); err != nil {
		return err
	}
	// Only from the second request on does the SDK send what it learned while it signed in for the first.
	_, err = tokens.ListAll(context.Background())
	return err
}

func main() {
	stated := map[string]any{}
	if err := json.NewDecoder(os.Stdin).Decode(&stated); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cfg, err := configured(stated)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answer := map[string]any{"error": nil}
	if err := list(cfg); err != nil {
		answer["error"] = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

//go:build tools

// Package tools names what scripts/engine.sh --oldest builds, so that go.mod and go.sum keep pinning it. It is never
// compiled.
package tools

import _ "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml"

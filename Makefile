# Every target is a thin name for a command or for a script in scripts/. `make` lists them.

# This is = and not ?=, because many systems set LANGUAGE to a list of locales. Use `make demo LANGUAGE=python`.
LANGUAGE = yaml
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PLUGIN := pulumi-resource-databricks

.DEFAULT_GOAL := help
.PHONY: help build demo check test engine sdk sdk-check sdk-packages lint fuzz install release have-pulumi bench workspace wheel bench-inside picture simulate

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the plugin and the local workspace (target/release)
	cargo build --release --locked --workspace

demo: ## Run `pulumi up` against a local workspace; LANGUAGE=yaml, python, typescript, go or java
	@scripts/demo.sh --language $(LANGUAGE)

workspace: ## Start a local workspace and print what to paste into another shell; ARGS="--port 8765" for its options
	@cargo run --locked --quiet --package databricks-local-workspace -- --export $(ARGS)

picture: ## Draw the picture of the README from a run of the demo (docs/images)
	@scripts/python.sh
	@target/venv/bin/python scripts/picture.py $(ARGS)

wheel: ## Build the wheel of the local workspace, with its pytest plugin (target/wheels)
	@scripts/wheel.sh

check: ## Run the checks and tests that take two minutes: Rust, and the plugin over raw gRPC
	@scripts/test.sh check

test: ## Run all tests and checks; STAGES="rust slow" for some of them, `scripts/test.sh --list` names them
	@scripts/test.sh $(STAGES)

simulate: ## Live through years of rotations whose engine and plugin are killed; SEED=7 SEEDS=0-199 for others
	@scripts/simulate.sh

engine: ## Build the Pulumi engine that the tests use (target/engine/bin)
	@scripts/engine.sh

sdk: ## Generate the SDKs in sdk/ from schema.json
	@scripts/sdk.sh

sdk-check: ## Check that sdk/ is what schema.json generates
	@scripts/sdk.sh --check

sdk-packages: ## Pack the SDKs for package registries (target/sdk-packages)
	@scripts/sdk-packages.sh

lint: ## Check formatting, lints and documentation of the Rust code
	@scripts/test.sh lint

fuzz: ## Fuzz every target for a minute; ARGS="--seconds N TARGET" for longer, or for some of them
	@scripts/fuzz.sh $(ARGS)

install: have-pulumi $(if $(FROM),,build) ## Build the plugin and install it for the `pulumi` on PATH; FROM=folder of a release: install from there, build nothing
	$(if $(FROM),@scripts/install.sh $(FROM),pulumi plugin install resource databricks $(VERSION) --reinstall --file $(TARGET)/release/$(PLUGIN))

release: ## Build the archives of a release for Linux and Windows (on a Mac: for macOS); ARGS="--check" builds them twice
	@scripts/release.sh $(ARGS)

# `install` lists this before `build`, so that nobody waits for a build that then ends with this error.
have-pulumi:
	@command -v pulumi >/dev/null || { echo "error: pulumi is not on PATH: install Pulumi (https://www.pulumi.com/docs/install)" >&2; exit 1; }

bench: build ## Measure the release build and write docs/performance.md; ARGS="--against PATH" for another plugin beside it
	@scripts/python.sh
	target/venv/bin/python benches/plugin.py $(ARGS)

bench-inside: ## Measure single steps inside the plugin with Criterion: decoding, Check, Diff, lists
	cargo bench --locked --package pulumi-resource-databricks --features bench --bench inside

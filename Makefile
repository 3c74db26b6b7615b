# What one types. Everything behind it is plain cargo, so cargo alone does too.

CARGO ?= cargo
# Where cargo puts programs. Started from there, because `cargo run` would choose other features for
# one package than for the workspace, and compile the dependencies again.
PROGRAMS = $(shell $(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug

.PHONY: help build demo test lint fmt crds bench sim release deny

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## all programs, unoptimised
	$(CARGO) build --workspace --bins

demo: build ## everything at once, to look at and to play with; ARGS=--exit ends by itself
	@$(PROGRAMS)/demo $(ARGS)

test: ## everything; ONLY=<package, test binary or test name> for a part
	@MAKE_PID=$$PPID PROGRAMS=$(PROGRAMS) e2e/tools/run-tests '$(ONLY)'

lint: ## clippy, warnings denied
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## formats the sources
	$(CARGO) fmt --all

crds: build ## generates deploy/crds from the types
	$(PROGRAMS)/crds-gen

release: ## optimised programs
	$(CARGO) build --workspace --bins --release

deny: ## licences, bans and advisories of the dependencies
	cargo-deny --version >/dev/null 2>&1 || { echo "cargo-deny is not installed: cargo install cargo-deny" >&2; exit 1; }
	$(CARGO) deny check

# What one types. Everything behind it is plain cargo, so cargo alone does too.

CARGO ?= cargo
# Where cargo puts programs. Started from there, because `cargo run` would choose other features for
# one package than for the workspace, and compile the dependencies again.
TARGET = $(shell $(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

.PHONY: help build prerequisites demo test lint fmt crds bench sim sim-planted fuzz release deny

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## all programs, unoptimised
	$(CARGO) build --workspace --bins

prerequisites:
	@e2e/tools/prerequisites

demo: prerequisites build ## everything at once, to look at and to play with; ARGS=--exit ends by itself
	@$(TARGET)/debug/demo $(ARGS)

test: ## everything; ONLY=<package, test binary or test name> for a part
	@MAKE_PID=$$PPID PROGRAMS=$(TARGET)/debug e2e/tools/run-tests '$(ONLY)'

lint: ## clippy, warnings denied
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## formats the sources
	$(CARGO) fmt --all

crds: build ## generates deploy/crds from the types
	$(TARGET)/debug/crds-gen

# make bench OBJECTS="1000" NAMESPACES=1000 JSON=docs/benchmarks/x.json ARGS="--steady-seconds 0"
OBJECTS ?= 100 1000 10000
NAMESPACES ?= 50
JSON ?=
# What a run leaves, with its logs of hundreds of thousands of requests, goes also when it fails.
bench: prerequisites release ## measures speed, memory and requests; OBJECTS="100 1000" NAMESPACES= JSON=<file>
	@KUBE_BIND_E2E_KEEP=$${KUBE_BIND_E2E_KEEP:-0} $(TARGET)/release/bench --objects "$(OBJECTS)" \
		--namespaces $(NAMESPACES) $(if $(JSON),--json $(JSON)) --date "$$(date -u +%F)" \
		--commit "$$(git describe --always --dirty)" $(ARGS)

SEEDS ?= 10000
FROM ?= 0

sim: ## plays SEEDS schedules of disturbances against the sync engine, FROM the given seed on
	SIM_SEEDS=$(SEEDS) SIM_FROM=$(FROM) $(CARGO) test --profile sim --package konnector --lib simulation::whatever -- --nocapture

sim-planted: ## plants bugs in a copy of the sources and shows that the simulation finds them
	@CARGO_TARGET_DIR=$(TARGET) e2e/tools/planted-bugs

fuzz: ## foreign input, led by coverage; SECONDS=<n> for each target, TARGETS=<some>
	@fuzz/run $(or $(SECONDS),60) $(TARGETS)

release: ## optimised programs
	$(CARGO) build --workspace --bins --release

deny: ## licences, bans and advisories of the dependencies
	cargo-deny --version >/dev/null 2>&1 || { echo "cargo-deny is not installed: cargo install cargo-deny" >&2; exit 1; }
	$(CARGO) deny check

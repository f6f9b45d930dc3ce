# Two commands do all the set-up on a Debian machine with cargo: `make run` and `make test`.
# Shell work longer than a line is in scripts/.

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.PHONY: help run test test-all bench build fmt lint deny clean have-cargo
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@scripts/lib.sh need_cargo || true

run: ## dockgate in front of an engine, with a demonstration; Ctrl-C ends it (ENGINE=unix:///path: that engine)
	@scripts/run.sh

test: ## installs what the tests need and runs all quick ones
	@scripts/test.sh quick

test-all: ## also the slow ones: more engines, more clients, hundreds of kills of the cache, fuzzing
	@scripts/test.sh all

bench: have-cargo ## the benchmark tables: the gateway beside HAProxy, the caching proxy beside nginx and squid
	@benches/run.sh

build: have-cargo ## target/release/dockgate
	cargo build --release

fmt: have-cargo ## formats the code
	cargo fmt
	cargo fmt --manifest-path benches/Cargo.toml

lint: have-cargo ## clippy, warnings are errors
	cargo clippy --all-targets -- -D warnings

deny: have-cargo ## licences, banned crates and sources of the dependencies
	cargo deny check licenses bans sources

clean: ## removes what was built
	rm -rf target benches/target fuzz/target

have-cargo:
	@scripts/lib.sh need_cargo

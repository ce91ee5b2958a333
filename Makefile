# One place for every command that people and CI run.

# Compiled dependencies outlive a checkout when this folder does.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/quintet/target
# Data that others wrote; tests that need it say so when it is absent.
export QUINTET_VECTORS ?= $(abspath ../shared/vectors)

CLIENTS := $(abspath tests/clients)

.PHONY: test setup rust clients lint peers fuzz conformance bench bench-import bench-split fmt

## Runs every test, after installing what is missing.
test: setup rust clients

## Installs what the tests need and the machine lacks.
setup:
	@./tests/setup.sh

## Unit, property, contract, vector and end-to-end tests.
rust: bins
	cargo test --workspace --locked --no-fail-fast

## Every program, where the tests look for them.
bins:
	cargo build --workspace --bins --locked

## Wallets and tools that others wrote, against a running node.
clients: setup bins
	@$(CLIENTS)/run.sh $(CARGO_TARGET_DIR)/debug/quintet

## The end-to-end suite against one process.
e2e: setup bins
	QUINTET_E2E=node cargo test --locked -p quintet --test e2e suite::

## The same against a split node of processes. (What happens when a part of it dies is among the tests of `rust`.)
e2e-split: setup bins
	QUINTET_E2E=split cargo test --locked -p quintet --test e2e suite::

## The same and most of the clients against the containers of docker-compose.yml, which it builds, starts and takes away.
e2e-compose: setup
	@./tests/compose.sh

## Nodes that others wrote, and hostile peers, against a node.
peers: setup bins
	@tests/peers/setup.sh
	@tests/peers/run.sh $(CARGO_TARGET_DIR)/debug/quintet

## Fuzzes every decoder of foreign bytes for some seconds; `fuzz/run.sh TARGET 600` does it thoroughly for one.
FUZZ_SECONDS ?= 5
fuzz: setup
	@fuzz/run.sh all $(FUZZ_SECONDS)

## Runs every conformance vector and prints a table; `make test` runs a sample.
conformance:
	cargo run --release --locked -p quintet-conformance

lint:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

## Measures the node against anvil in one run and prints a table.
bench: setup
	cargo build --release --locked -p quintet
	@./benches/run.sh $(CARGO_TARGET_DIR)/release/quintet

## Measures the split node against one process in one run and prints tables. Takes root, for cgroups.
bench-split: setup
	cargo build --release --locked --workspace --bins
	cargo build --release --locked -p quintet-testkit --example generate
	@./benches/split.sh $(CARGO_TARGET_DIR)/release/quintet

## Measures imports, ethash and the trie in one run and prints tables.
bench-import: setup
	cargo build --release --locked -p quintet
	cargo build --release --locked -p quintet-testkit --example generate
	cargo build --release --locked -p quintet-ethash --example bench
	cargo build --release --locked -p quintet-trie --example scale
	@./benches/import.sh $(CARGO_TARGET_DIR)/release/quintet

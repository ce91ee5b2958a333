# One place for every command that people and CI run.

# Compiled dependencies outlive a checkout when this folder does.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/quintet/target
# Data that others wrote; tests that need it say so when it is absent.
export QUINTET_VECTORS ?= $(abspath ../shared/vectors)

CLIENTS := $(abspath tests/clients)

.PHONY: test setup rust clients lint bench fmt

## Runs every test, after installing what is missing.
test: setup rust clients

## Installs what the tests need and the machine lacks.
setup:
	@./tests/setup.sh

## Unit, property, contract, vector and end-to-end tests.
rust:
	cargo test --workspace --locked

## Wallets and tools that others wrote, against a running node.
clients: setup
	cargo build --workspace --bins --locked
	@$(CLIENTS)/run.sh $(CARGO_TARGET_DIR)/debug/quintet

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all

## Measures the node against anvil in one run and prints a table.
bench: setup
	cargo build --release --locked -p quintet
	@./benches/run.sh $(CARGO_TARGET_DIR)/release/quintet

# `make` alone says what there is.

# Absolute, so that builds of other workspaces (the demo's plugin) land in the same place.
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export PATH := $(CARGO_TARGET_DIR)/tools/bin:$(PATH)

PYTHON := $(CARGO_TARGET_DIR)/tools/venv/bin/python
SYNCLINE := $(CARGO_TARGET_DIR)/debug/syncline
# There are no examples for cargo. Naming them lets dev-dependencies take part in the choice of
# features, as in `cargo test`: without it, the two would build some crates twice.
BUILD := cargo build --locked --workspace --bin syncline --examples
# Where the tests and the demo build plugins as well: whoever comes second finds them built.
GUESTS_DIR := $(CARGO_TARGET_DIR)/guests-build
GUESTS := $(GUESTS_DIR)/wasm32-wasip2/guest
BUILD_GUEST := cargo build --locked --profile guest --target wasm32-wasip2 --target-dir $(GUESTS_DIR)

.PHONY: help demo test lint cases bench chaos soak build setup clean
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## the main job on real input; KEEP=1 leaves it running until ctrl-c
	@.ci/setup demo
	$(BUILD)
	@$(PYTHON) examples/saas/demo.py --syncline $(SYNCLINE) $(if $(KEEP),--keep)

test: lint build ## everything that CI runs
	@.ci/guests >/dev/null
	cargo test --locked --workspace
	@$(MAKE) cases

lint: ## format, lints and documentation
	@.ci/setup test
	cargo fmt --all --check
	cargo fmt --check --manifest-path examples/saas/tier/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps

cases: build ## the plugins' own cases, in the real host
	@set -e; for plugin in plugins/*/; do $(SYNCLINE) test $$plugin; done

bench: ## Syncline against a bare forwarder, bare reads and bare loops on a database; JSON=1 prints one JSON object as the last line, ONLY="api calls" measures these parts
	@.ci/setup test
	cargo build --locked --release --workspace --bin syncline
	@unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS; $(BUILD_GUEST) $(addprefix --package ,$(notdir $(wildcard plugins/*)))
	@unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS; $(BUILD_GUEST) --manifest-path tests/guests/bench/Cargo.toml
	@.ci/postgres $(CARGO_TARGET_DIR)/release/syncline bench $(if $(JSON),--json) $(addprefix --only ,$(ONLY)) --plugins $(GUESTS) \
		--plugin $(GUESTS)/bench_json.wasm --echo $(GUESTS)/bench_echo.wasm \
		--slow $(GUESTS)/bench_slow.wasm

EVENTS ?= 20000
SEED ?= 1
GUARANTEE ?= at-least-once
SCENARIO ?= kill
NODES ?= 1
PARTITIONS ?=
CHAOS_TEST := $(if $(PARTITIONS),what_a_killed_runtime_had_is_worked_on_within_twice_the_lease,every_event_has_its_effects_once_and_in_order_under_kill_9)
CHAOS := CHAOS_EVENTS=$(EVENTS) CHAOS_SEED=$(SEED) CHAOS_HITS=$(HITS) CHAOS_RUNTIMES=$(RUNTIMES) CHAOS_NODES=$(NODES) CHAOS_PARTITIONS=$(PARTITIONS) CHAOS_GUARANTEE=$(GUARANTEE) CHAOS_MODES=$(MODES) CHAOS_LOGS=$(CARGO_TARGET_DIR)/chaos-logs CHAOS_REPORT=$(CARGO_TARGET_DIR)/chaos.json

chaos: build ## kill -9 of everything under load, and a judge; EVENTS=n SEED=n HITS=n RUNTIMES=1|2 NODES=1|3 PARTITIONS=n MODES=ABCD JSON=1
	@.ci/setup test
	@if [ "$(SCENARIO)" != kill ]; then \
		echo "make chaos: SCENARIO=$(SCENARIO) is not available yet; there is SCENARIO=kill" >&2; exit 2; fi
	@rm -rf $(addprefix $(CARGO_TARGET_DIR)/chaos,.json .txt -logs)
	@$(CHAOS) cargo test --locked --workspace --test system -- --exact \
		chaos::$(CHAOS_TEST) || failed=1; \
	if [ -f $(CARGO_TARGET_DIR)/chaos.json ]; then \
		cat $(CARGO_TARGET_DIR)/chaos.txt; \
		$(if $(JSON),cat,python3 -m json.tool) $(CARGO_TARGET_DIR)/chaos.json; fi; exit $${failed:-0}

DURATION ?= 600
STALL ?= 60

soak: build ## events at full rate while a target stalls, and the memory; DURATION=seconds STALL=seconds JSON=1
	@.ci/setup test
	@rm -f $(CARGO_TARGET_DIR)/soak.json
	@SOAK_SECONDS=$(DURATION) SOAK_STALL=$(STALL) SOAK_REPORT=$(CARGO_TARGET_DIR)/soak.json \
		cargo test --locked --workspace --test system -- --exact \
		soak::memory_stays_as_it_is_while_a_target_stalls || failed=1; \
	if [ -f $(CARGO_TARGET_DIR)/soak.json ]; then \
		$(if $(JSON),cat,python3 -m json.tool) $(CARGO_TARGET_DIR)/soak.json; fi; exit $${failed:-0}

build: ## the syncline binary
	@.ci/setup build
	$(BUILD)

setup: ## what the demo and the tests need, fetched into the target directory
	@.ci/setup

clean: ## deletes what was built and fetched
	cargo clean

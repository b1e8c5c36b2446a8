# Every target works on a fresh clone of Debian 12: what is missing is installed first (scripts/install says what and why),
# and a second time starts at once. One build profile and one folder serve run, test, lint and bench, because RocksDB's
# C++ takes many minutes, once per profile. The folder lies outside the clone, so a new clone finds it built.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/turnstile
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),$(CACHE)/target))
export TESTS_SDK_DIR := $(CACHE)/sdk
# ccache is used where it is installed; rustup's folder is looked at even where the login shell has not set it yet, and
# before Debian's own cargo, which is too old.
export PATH := /usr/lib/ccache:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

BUILD := cargo build --workspace --release --locked
# `run` builds one program and what it needs. `--workspace` stays, because features unify over the packages that a build
# selects: only so is what `run` compiles, RocksDB above all, what `build` and `test` need too.
BUILD_TURNSTILE := $(BUILD) --bin turnstile
# The buffer on a disk that forgets: a workspace of its own, so that it cannot change how RocksDB is built.
FORGETFUL_DISK := --manifest-path local-buffer/tests/forgetful-disk/Cargo.toml --locked

.PHONY: help run build test lint bench compare chaos fuzz loom miri mutations bare-root kafka kafka-stop kafka-clean
.PHONY: print-target-dir install

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-17s %s\n", $$1, $$2 }'

install:
	@scripts/install

run: install ## build and start turnstile: ingest 127.0.0.1:8080, admin 127.0.0.1:9090, data in ./data (TURNSTILE_DATA)
	@$(BUILD_TURNSTILE)
	@exec "$$CARGO_TARGET_DIR/release/turnstile" run

build: install ## every program: turnstile, tapi, dedup-worker, loadtest
	@$(BUILD)

test: ## build and run every test
	@scripts/install test
	@$(BUILD)
	@cargo test --workspace --release --locked
	@cargo test --release $(FORGETFUL_DISK)

lint: ## formatting and clippy, warnings are errors
	@scripts/install lint
	@cargo fmt --all --check
	@cargo clippy --workspace --release --all-targets --locked -- -D warnings
	@cargo fmt --manifest-path local-buffer/tests/forgetful-disk/Cargo.toml --check
	@cargo clippy --release --all-targets $(FORGETFUL_DISK) -- -D warnings

bench: install ## every bench, each beside its floor; those with Kafka start a broker of their own
	@scripts/install kafka
	@$(BUILD)
	@cargo bench --workspace --locked --bench '*'

compare: ## this tree beside an older commit, by turns: OLD=COMMIT, also ROWS="drain …" and ROUNDS=5 (an hour and a half)
	@scripts/install compare
	@benches/compare "$(or $(OLD),$(error name the commit to compare with: make compare OLD=COMMIT))" $(ROWS) --rounds $(or $(ROUNDS),5)

chaos: ## the scenarios in their long form (about an hour)
	@scripts/install test
	@$(BUILD)
	@TESTS_CHAOS=1 cargo test --release $(FORGETFUL_DISK)
	@TESTS_CHAOS=1 cargo test --release --locked -p local-buffer --test real_disks
	@TESTS_CHAOS=1 cargo test --release --locked -p local-buffer --lib
	@$(MAKE) --no-print-directory mutations loom
	@TESTS_CHAOS=1 cargo test --workspace --release --locked --test scenarios --test kafka --test server

fuzz: install ## every decoder against a fuzzer, a minute each (FUZZ_SECONDS)
	@fuzz/run

loom: install ## the buffer's hand-off between threads, in every order that they can take
	@RUSTFLAGS="--cfg loom" cargo test -p local-buffer --release --locked --lib --target-dir "$$CARGO_TARGET_DIR/loom" -- --nocapture handoff_test

mutations: install ## breaks the buffer in each way of local-buffer/MUTATIONS.md and expects a test to notice
	@local-buffer/mutations/run

miri: ## the buffer under miri; needs: rustup toolchain install nightly --component miri,rust-src
	@local-buffer/miri

bare-root: ## what installs itself, in a Debian 12 made from nothing (root, a few minutes)
	@tests/bare-root/run

kafka: ## two local Kafka clusters on 127.0.0.1:19092 and :29092 with their topics (4 lanes), left running
	@scripts/install kafka
	@scripts/kafka/pair start

kafka-stop: ## stops them; their data stays
	@scripts/kafka/pair stop

kafka-clean: ## stops them and removes their data
	@scripts/kafka/pair clean

print-target-dir: ## where the programs are built
	@echo "$$CARGO_TARGET_DIR"

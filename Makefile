# Two commands matter: make train, make test.

.PHONY: help setup train test lint doc bench web serve test-browser

help:
	@echo "make train   set up what is missing, build, teach LeNet-5 the digits in the repository"
	@echo "make test    set up what is missing, run the tests, those of the page in a browser too"
	@echo "make lint    formatting and clippy"
	@echo "make doc     the library's documentation"
	@echo "make web     the browser demo, into dist/"
	@echo "make serve   the same, served on this machine"
	@echo "make bench   time every kernel (checks its answer first)"

setup:
	@scripts/setup

train: setup
	cargo run --release --quiet -- train

test: setup
	cargo test --release
	scripts/test-browser

lint:
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps

bench: setup
	cargo bench --bench kernels

web:
	scripts/web

serve: web
	cargo run --release --quiet --manifest-path examples/browser/tools/Cargo.toml --target-dir target/web-tools --bin serve -- dist

test-browser:
	cargo build --release
	scripts/test-browser

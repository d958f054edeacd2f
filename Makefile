# `make run` and `make test` are the main targets; the others are their parts, or need further downloads.
CARGO ?= cargo
PYTHON ?= python3
ORT_DIR := .guerdon/onnxruntime
JUDGE_VENV := .venv-judge
LISTEN ?= 127.0.0.1:8787
ROUNDS ?= 60
FROM ?= 0
SEED ?= 15
MINUTES ?= 3
SECONDS ?= 120
FLOOR ?= 2.28

.PHONY: run test lint unit doc-test test-clients test-python test-trl test-families test-recipes test-gpu-scripts test-judges test-faults test-schema test-packs test-metrics test-lsp test-ui test-postgres test-cluster test-wheels test-deploy check-deploy test-ray test-packages test-semver wheels deb release soak fuzz onnxruntime docs generate bench clean help

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: onnxruntime ## Build, and serve the hotel profile on loopback; JUDGE=local adds a small judge
	$(CARGO) build --release --package guerdon-cli
	@CARGO="$(CARGO)" PYTHON="$(PYTHON)" VENV="$(JUDGE_VENV)" JUDGE="$(JUDGE)" LISTEN="$(LISTEN)" sh scripts/run.sh

test: lint unit doc-test ## Lints, drift checks, house figures, all Rust tests

lint: ## Formatting, clippy, docs and unused dependencies; warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	$(CARGO) check-sources unused

unit: onnxruntime ## All tests, with nextest where it is installed
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --workspace --locked; \
	else $(CARGO) test --workspace --all-targets --locked; fi

doc-test: onnxruntime ## The examples in the documentation
	$(CARGO) test --workspace --doc --locked

test-clients: onnxruntime ## Trainers' clients against a fresh server; installs them in a virtual environment
	$(CARGO) build --release --package guerdon-cli
	$(PYTHON) scripts/test_clients/run.py

test-python: onnxruntime ## Wheel, types and tests of the Python package, in a virtual environment
	$(CARGO) build --package guerdon-cli
	PYTHON="$(PYTHON)" sh scripts/test_python.sh

test-trl: test-python ## TRL's GRPOTrainer on the CPU with guerdon's reward; installs it (7 GB)
	$(PYTHON) scripts/test_trl.py

test-families: onnxruntime ## Exports of every model family beside transformers; installs torch in a virtual environment
	$(CARGO) build --package guerdon-cli
	PYTHON="$(PYTHON)" sh scripts/test_families.sh

test-recipes: test-families ## The former name of test-families

test-gpu-scripts: onnxruntime ## The scripts for a GPU, rehearsed on a CPU; PYTHON needs the recipes' packages
	$(CARGO) build --package guerdon-cli
	PYTHON="$(PYTHON)" RUNTIME=$(ORT_DIR) bash scripts/gpu/test.sh

test-judges: ## Judges against llama.cpp's server and LiteLLM's proxy; installs both
	CARGO="$(CARGO)" $(PYTHON) scripts/test_judges/run.py

test-faults: ## Rounds of traffic with kill -9, full disks, few descriptors, slow clients and reload storms; ROUNDS, FROM, SEED
	$(CARGO) test --workspace --locked --test fault_rounds -- --rounds $(ROUNDS) --from $(FROM) --seed $(SEED)

test-schema: ## Generated requests against the OpenAPI document for SECONDS; installs Schemathesis in a virtual environment
	$(CARGO) build --workspace --locked --bin guerdon
	PYTHON="$(PYTHON)" sh scripts/test_schema.sh $(SECONDS)

test-packs: ## Shipped packs with PyYAML and yamllint; installs them in a virtual environment
	PYTHON="$(PYTHON)" sh scripts/test_packs.sh

test-metrics: ## Queries of the dashboard and the alerts against Prometheus and a live server; needs Debian's prometheus
	$(CARGO) build --package guerdon-cli --locked
	$(PYTHON) scripts/test_metrics.py target/debug/guerdon

test-lsp: ## The language server under the clients of pytest-lsp; installs it in a virtual environment
	$(CARGO) build --package guerdon-cli --locked
	PYTHON="$(PYTHON)" sh scripts/test_lsp.sh

test-ui: ## The inspector in Chromium, with axe; installs Chromium and axe-core where they are missing
	CARGO="$(CARGO)" timeout 15m sh scripts/test_ui.sh

test-postgres: ## Ledgers in PostgreSQL, on servers that the tests start; needs Debian's postgresql
	GUERDON_REQUIRE_POSTGRES=1 timeout 15m $(CARGO) test --workspace --locked --test it -- postgres database

test-cluster: ## Servers that share over Redis, through faults; needs Debian's redis-server, and uses haproxy
	GUERDON_REQUIRE_REDIS=1 timeout 15m $(CARGO) test --package guerdon-cluster --package guerdon-judge --locked --test it
	GUERDON_REQUIRE_REDIS=1 timeout 15m $(CARGO) test --package guerdon-cli --locked --test cluster -- --nocapture --test-threads 1

soak: onnxruntime ## Mixed traffic for MINUTES against the release build; fails if its memory grows
	$(CARGO) build --release --package guerdon-cli --locked
	$(CARGO) test --workspace --locked --test soak -- --minutes $(MINUTES) --binary $(CURDIR)/target/release/guerdon

fuzz: ## Fuzz every target for SECONDS each, from the kept corpus; needs `cargo install cargo-fuzz`
	CARGO="$(CARGO)" sh scripts/fuzz.sh $(SECONDS)

wheels: ## The wheels guerdon and guerdon-server, into dist; FLOOR is their oldest glibc, FLOOR=host this machine's
	CARGO="$(CARGO)" PYTHON="$(PYTHON)" FLOOR="$(FLOOR)" sh scripts/wheels/build.sh dist

test-wheels: ## Install the wheels of dist in new virtual environments, serve and score; `make wheels` builds them
	$(PYTHON) scripts/wheels/test.py dist

test-deploy: onnxruntime ## What the container and the Debian package install, run in a folder as its root; needs root
	$(CARGO) build --release --package guerdon-cli --locked
	$(PYTHON) deploy/test.py target/release/guerdon
	PYTHON="$(PYTHON)" sh deploy/check.sh target/release/guerdon

check-deploy: ## Kubernetes, compose and SLURM files, by their schemas and promises; BINARY checks configurations too
	PYTHON="$(PYTHON)" sh deploy/check.sh $(BINARY)

test-ray: onnxruntime ## Ray Data with 1 and 2 workers, and with killed ones; ROWS; installs Ray in a virtual environment (700 MB)
	$(CARGO) build --release --package guerdon-cli --locked
	PYTHON="$(PYTHON)" sh scripts/test_ray.sh target/release/guerdon $(ROWS)

deb: onnxruntime ## The Debian package, into dist; needs `cargo install cargo-deb`
	CARGO="$(CARGO)" sh deploy/deb.sh dist

test-packages: ## Package the crates for a registry, and build those without dependencies of ours from their packages
	CARGO="$(CARGO)" sh scripts/test_packages.sh

test-semver: ## Public interfaces beside those of BASE, a revision or by default the newest tag; needs cargo-semver-checks
	CARGO="$(CARGO)" PYTHON="$(PYTHON)" sh scripts/test_semver.sh $(BASE)

release: ## Wheels, Debian package, crates, checksums and SBOMs of this commit, into dist; uploads nothing
	CARGO="$(CARGO)" PYTHON="$(PYTHON)" sh scripts/release.sh dist

onnxruntime: ## Fetch ONNX Runtime's shared library from its Python wheel, if it is missing; GPU=1 for CUDA
	@PYTHON="$(PYTHON)" sh scripts/fetch-onnxruntime.sh $(ORT_DIR)

docs: ## Build the documentation site into target/docs; installs mdBook into .guerdon
	CARGO="$(CARGO)" sh scripts/docs.sh

generate: ## Write the generated files: OpenAPI document, rule pack schema, reference pages
	$(CARGO) xtask generate

bench: onnxruntime ## Measure over HTTP; ROLLOUTS=file, PEER=a Python with onnxruntime
	$(CARGO) build --release --package guerdon-cli && $(CARGO) build --release --package guerdon-examples --example load
	sh bench/run.sh http $(ROLLOUTS) $(PEER)

clean: ## Remove everything built or fetched
	$(CARGO) clean
	rm -rf .guerdon .venv-*

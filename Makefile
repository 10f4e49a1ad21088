# Sparrow's commands. `make` alone lists them. Everything here also works by hand: each recipe is
# a line or two over `swift` and `sparrow`.

# Variables to set on the command line, as in `make demo DEMO_EPOCHS=50 DEVICE=gpu`:
DEMO_EPOCHS ?= 100#        epochs of the demonstration
DEVICE      ?= auto#      the OpenCL device it trains on (see `sparrow devices`)
BENCH       ?=#           arguments of `make bench` (see `Benchmarks/run.sh --help`)
FUZZ        ?=#           arguments of `make fuzz`: which readers and how often
CONFORMANCE ?=#           arguments of `make conformance`: which implementations, default all
SANITIZERS  ?=#           arguments of `make test-sanitized`: address, thread, leaks; default all

SWIFT       ?= swift
export SWIFT

SPARROW := .build/release/sparrow

.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-segment test test-sanitized bench bench-codes bench-segment bench-trust conformance fuzz format lint clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing of OpenCL and the image libraries (through apt-get)
	@Scripts/setup.sh

build: setup ## build for release: .build/release/sparrow
	$(SWIFT) build -c release

demo: build ## train on glyphs drawn by the program itself, evaluate, show where the picture is
	@Scripts/demo.sh $(SPARROW) "$(strip $(DEMO_EPOCHS))" "$(strip $(DEVICE))"

demo-segment: build ## draw cells, pretrain, train on two labelled images, segment and score others
	@Scripts/demo-segment.sh $(SPARROW) "$(strip $(DEVICE))"

test: setup lint ## run every test; an absent OpenCL device is a failure
	@Scripts/test.sh $(SPARROW)

test-sanitized: setup ## run tests under the address and thread sanitizers, and look for leaks
	Scripts/test-sanitized.sh $(SANITIZERS)

bench: build ## measure training and matmul beside other systems, into Benchmarks/results
	Benchmarks/run.sh $(BENCH)

bench-codes: build ## measure sparse codes: quality, targets, speed (see Benchmarks/codes.py --help)
	python3 Benchmarks/codes.py $(BENCH)

bench-segment: build ## measure segmentation with few labels (see Benchmarks/segment.py --help)
	python3 Benchmarks/segment.py $(BENCH)

bench-trust: build ## kill and resume runs, measure checkpoints and memory (see Benchmarks/trust.py --help)
	python3 Benchmarks/trust.py $(BENCH)

conformance: build ## check operations and trainings on PoCL, Intel's runtime, rusticl, Oclgrind; compile for GPUs
	Scripts/conformance.sh $(CONFORMANCE)

fuzz: setup ## fuzz every reader (FUZZ="--executions N TARGET...", see Scripts/fuzz.sh --help)
	Scripts/fuzz.sh $(FUZZ)

format: ## lay the sources out as swift-format does
	Scripts/swift-format.sh format --in-place

lint: ## check the sources' layout; what `make format` would change is an error
	Scripts/swift-format.sh lint --strict

clean: ## remove what was built; runs/ stays
	rm -rf .build .build-setup .build-fuzz

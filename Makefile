# Every target does its own set-up. As root, test and bench install the Debian
# packages they need and find missing. `make help` lists the targets.

GO ?= go
BIN := $(CURDIR)/bin

# The newest release that builds with the Go of go.mod.
LINT_VERSION := v2.15.0
LINT := $(BIN)/golangci-lint-$(LINT_VERSION)

# A checkout of another user's has no commit git would tell us.
STAMP := $(shell git rev-parse --verify --quiet HEAD >/dev/null 2>&1 && echo true || echo false)
export GOFLAGS := $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help build demo test test-race test-exhaustive fuzz bench lint fmt docs golden clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## Build bin/weft, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(STAMP) -o $(BIN)/weft ./cmd/weft

demo: build ## Show three hosts, a swarm, an overlay network and the death of a host (root)
	@$(BIN)/weft lab demo

test: ## Run all tests, those against a real dockerd included (root; under 30 minutes)
	@.ci/packages
	@$(GO) test -timeout 40m ./... </dev/null

test-race: ## Run all tests with the race detector (root)
	@.ci/packages gcc libc6-dev
	@CGO_ENABLED=1 $(GO) test -race -timeout 60m ./... </dev/null

test-exhaustive: ## Run also the tests that take hours (root)
	@.ci/packages
	@$(GO) test -tags exhaustive -timeout 6h ./... </dev/null

fuzz: ## Fuzz every fuzz target for FUZZTIME (30s)
	@.ci/fuzz

bench: ## Run all benchmarks (root)
	@.ci/packages
	@$(GO) test -run '^$$' -bench . -benchmem -timeout 2h ./... </dev/null

lint: $(LINT) ## Check style and common mistakes
	@$(LINT) run ./...

fmt: $(LINT) ## Format the code
	@$(LINT) fmt ./...

docs: ## Write docs/cli and docs/compatibility.md anew from the code
	$(GO) test ./cmd/weft -run "^TestReference$$" -count=1 -update
	$(GO) test ./engine/dockerapi -count=1 -update

golden: ## Write the golden files of all tests anew; review them like code
	$(GO) test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -count=1 -update

clean: ## Remove what was built
	rm -rf $(BIN)

$(LINT):
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv $(BIN)/golangci-lint $@

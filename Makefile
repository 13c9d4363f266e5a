# make help lists the targets. Everything that is built goes to bin/ and build/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED := 1
# .ci/setup puts a Node.js there where the system's is too old.
export PATH := $(CURDIR)/build/tools/node/bin:$(PATH)

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS  := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 30s
FUZZ     ?= .
TIMEOUT  ?= 20m
BENCH    ?=
CONFORMANCE ?=
TEST     ?=
TOOLS    := build/tools

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: setup
setup: ## install what this machine lacks (Debian, Ubuntu)
	@.ci/setup compiler postgres pgbouncer chromium node npm

.PHONY: build
build: ## build bin/regate
	@.ci/setup compiler
	go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/regate ./cmd/regate

.PHONY: test
test: ## run every test, race detector on, with PostgreSQL, a Kubernetes control plane, OIDC providers and a browser
	@.ci/setup compiler postgres chromium node npm
	@.ci/kubernetes >/dev/null
	go test -race -timeout $(TIMEOUT) $(TEST) ./...

.PHONY: lint
lint: $(TOOLS)/staticcheck $(TOOLS)/govulncheck $(TOOLS)/opa ## check formatting, code, policies and known vulnerabilities
	@.ci/setup compiler
	@files=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r ls -d 2>/dev/null | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w:"; echo "$$files"; exit 1; fi
	go vet ./...
	$(TOOLS)/staticcheck ./...
	.ci/lint-policies $(TOOLS)/opa
	go run -buildvcs=false ./cmd/regate policy test --coverage --threshold 100 policies bundles/demo
	go run -buildvcs=false ./cmd/regate policy test --coverage --threshold 100 policies bundles/demo-http
	go run -buildvcs=false ./cmd/regate policy test --coverage --threshold 100 policies bundles/demo-kubernetes
	.ci/vulncheck $(TOOLS)/govulncheck

.PHONY: bench
bench: build $(TOOLS)/opa ## pgbench direct, through pgbouncer and through regate; HTTP before nginx and others; policies; Kubernetes; writes build/bench.json
	@.ci/setup compiler postgres pgbouncer httpproxies
	@.ci/kubernetes >/dev/null
	@mkdir -p build
	go build -trimpath -buildvcs=false -o build/bin/bench ./cmd/bench
	build/bin/bench $(BENCH)

.PHONY: demo
demo: ## show regate at work, with PostgreSQL; KEEP=1 leaves it running
	@.ci/setup compiler postgres
	@$(MAKE) --no-print-directory play-postgres

.PHONY: demo-http
demo-http: ## the same with an HTTP API, by reverse and forward proxy
	@.ci/setup compiler node npm
	@$(MAKE) --no-print-directory play-http

.PHONY: demo-mcp
demo-mcp: ## show regate at work with MCP servers of others
	@.ci/setup compiler node npm
	@$(MAKE) --no-print-directory play-mcp

.PHONY: demo-kubernetes
demo-kubernetes: ## the same with a Kubernetes cluster and kubectl; builds a control plane where it is missing
	@.ci/setup compiler
	@.ci/kubernetes >/dev/null
	@$(MAKE) --no-print-directory play-kubernetes

# One of the shows of cmd/demo, when what it needs is installed.
play-%:
	@mkdir -p build bin
	@go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/regate ./cmd/regate
	@go build -trimpath -buildvcs=false -o build/regate-demo ./cmd/demo
	@exec build/regate-demo $*

.PHONY: conformance-mcp
conformance-mcp: ## the official MCP conformance suite, directly and through regate
	@.ci/setup compiler node npm
	.ci/conformance-mcp

.PHONY: conformance-postgres
conformance-postgres: ## PostgreSQL's regression suite directly and through regate, the analysis against the server, every attack by every client
	@.ci/setup compiler postgres node npm
	.ci/conformance-postgres

.PHONY: conformance-kubernetes
conformance-kubernetes: ## kubectl of two versions and helm on a real API server, directly and through regate
	@.ci/setup compiler
	.ci/conformance-kubernetes $(CONFORMANCE)

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (30s); FUZZ=regexp chooses
	@.ci/setup compiler
	.ci/fuzz $(FUZZTIME) '$(FUZZ)'

.PHONY: generate
generate: ## make generated files anew: schemas, capabilities
	@.ci/setup compiler
	go generate ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build

# The tools are a module of their own (.tools), built once and kept.
$(TOOLS)/staticcheck: PACKAGE := honnef.co/go/tools/cmd/staticcheck
$(TOOLS)/govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck
$(TOOLS)/benchstat: PACKAGE := golang.org/x/perf/cmd/benchstat
$(TOOLS)/opa: PACKAGE := github.com/open-policy-agent/opa
$(TOOLS)/%: .tools/go.mod .tools/go.sum
	@mkdir -p $(TOOLS)
	CGO_ENABLED=0 go -C .tools build -buildvcs=false -o ../$@ $(PACKAGE)

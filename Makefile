SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODULES  := $(shell scripts/modules.sh)
PATTERNS := $(addprefix ./,$(addsuffix /...,$(MODULES)))
BINARIES := gateway rule token sender agent-routing console simulator
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/wxbus/wxbus/pkg/process.Version=$(VERSION)
# STATIC=1 makes static, reproducible binaries for images. The default shares its build cache with the tests.
GOBUILD  := $(if $(STATIC),CGO_ENABLED=0 go build -trimpath,go build) -ldflags '$(LDFLAGS)'
SOURCES  := $(shell find proto pkg services -name '*.go' -not -name '*_test.go' -o -name 'go.mod' -not -path '*/node_modules/*') \
            $(shell find services -path '*/internal/*' \( -name '*.html' -o -name '*.js' -o -name '*.css' -o -name '*.json' -o -name '*.yaml' \) )
# The page of the console is built where Node is there; without it the program says how to get the page.
PAGE     := $(if $(shell scripts/web.sh can),services/console/internal/web/dist/index.html)
WEB      := $(shell find services/console/web -type f -not -path '*/node_modules/*' -not -path '*/bench/*' -not -name '*.test.ts*')
DATA     ?= data/demo
FUZZTIME ?= 60s

.PHONY: help
help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z0-9_-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: bin/wxbus ## build and start everything with two demo accounts; prints the URLs
	bin/wxbus up --demo --data $(DATA)

bin/wxbus: $(SOURCES) $(PAGE)
	@scripts/need-go.sh
	@$(if $(PAGE),,scripts/web.sh missing)
	@echo "building $@ (the first time takes minutes)" >&2
	$(GOBUILD) -o $@ ./services/allinone/cmd/wxbus

.PHONY: build
build: bin/wxbus ## build bin/wxbus and one binary per service
	for s in $(BINARIES); do $(GOBUILD) -o bin/$$s ./services/$$s/cmd/$$s; done
	for c in natsd bare; do $(GOBUILD) -o bin/$$c ./tests/cmd/$$c; done

.PHONY: images
images: $(PAGE) ## OCI images of all binaries into bin/images, without a container engine
	VERSION=$(VERSION) scripts/images.sh

.PHONY: manifests
manifests: ## check images, manifests, their network policies and the users of NATS; needs no cluster
	go test -count=1 -timeout 10m ./tests/image ./tests/k8s

# A script that starts a cluster for the test when KUBECONFIG is not set: check, up, load, assets, down.
K8S_CLUSTER ?= ../shared/k8s/cluster.sh

.PHONY: test-k8s
test-k8s: images ## install everything in a real cluster, break it and upgrade it (KUBECONFIG, or K8S_CLUSTER to start one)
	go test -tags k8s -count=1 -timeout 60m -v -run 'TestCluster$$' ./tests/k8s -args -cluster=$(abspath $(K8S_CLUSTER))

.PHONY: web
web: ## build the page of the console with npm
	scripts/web.sh build

services/console/internal/web/dist/index.html: $(WEB)
	scripts/web.sh build

.PHONY: web-check
web-check: ## types, lint and unit tests of the page
	scripts/web.sh check

.PHONY: web-test
web-test: build ## every browser test of the page
	scripts/web.sh chromium
	node tests/web/run.mjs --all

.PHONY: web-screens
web-screens: build ## pictures of the page in both languages and themes, into docs/screens
	scripts/web.sh chromium
	node tests/web/screens.mjs

.PHONY: web-bench
web-bench: ## frames while scrolling 10 000 rows and messages, and the time of a switch
	scripts/web.sh build
	scripts/web.sh chromium
	npm --prefix services/console/web run --silent bench-page
	node tests/web/bench.mjs

.PHONY: test
test: ## everything CI needs: generated files, borders, vet, unit, integration, end to end
	scripts/test.sh

.PHONY: unit
unit: ## unit and integration tests of every module, with the race detector
	go test -race -shuffle=on -count=1 -timeout 15m $(addprefix ./,$(addsuffix /...,$(filter-out tests,$(MODULES))))

.PHONY: e2e
e2e: build ## end-to-end table, all in one process and split over a NATS of three
	go test -count=1 -timeout 10m ./tests/trace ./tests/drill
	go test -count=1 -timeout 10m -p 1 ./tests/e2e ./tests/soak -args -mode=all
	go test -count=1 -timeout 10m ./tests/e2e -args -mode=split

.PHONY: observability
observability: build ## alerts, dashboards and runbooks against a real Prometheus that reads the real system
	scripts/prometheus.sh
	go test -count=1 -timeout 15m ./tests/observability

.PHONY: chaos
chaos: build ## fault table of docs/faults.md: ROWS=3,4 TRIALS=3 SEED=7 RATE=40 DURATION=10s; results and table.md below data/chaos
	go test -count=1 -timeout 24h -v ./tests/chaos -args -form=full -rows=$(ROWS) -trials=$(or $(TRIALS),1) -seed=$(or $(SEED),1) \
	  -rate=$(or $(RATE),0) -duration=$(or $(DURATION),0) -out=$(CURDIR)/data/chaos

.PHONY: e2e-users
e2e-users: build ## the split end-to-end table with a user of NATS for each service; fails when one was denied a subject
	go test -count=1 -timeout 10m ./tests/e2e -args -mode=split -users

.PHONY: chaos-short
chaos-short: build ## the rows of the fault table that find most, in three minutes
	go test -count=1 -timeout 30m -v ./tests/chaos -args -form=short

.PHONY: soak
soak: build ## 20 000 pushes at 500/s with 5 % faults of each kind; prints the simulator's report
	go test -count=1 -timeout 30m -v -tags soak ./tests/soak/...

.PHONY: bench
bench: build ## budgets of the design as ratios in one run
	scripts/bench.sh

.PHONY: bench-scale
bench-scale: build ## cost of a push with more gateways, accounts, fans and bytes, against baselines in the same run
	scripts/bench-scale.sh

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (60s)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: generate
generate: ## regenerate protobuf code and generated docs
	scripts/tools.sh buf protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go
	bin/buf generate
	bin/buf generate --template buf.gen.console.yaml --path proto/wxbus/console
	$(MAKE) docs

.PHONY: docs
docs: bin/wxbus ## regenerate docs/configuration.md, docs/events.md and the index of decisions
	scripts/docs.sh

.PHONY: docs-check
docs-check: bin/wxbus ## generated documents are those of the code; links, commands, flags, settings, metrics and tests that documents name exist
	scripts/docs.sh --check
	go test -count=1 ./tests/docs

.PHONY: fmt
fmt: ## format Go and proto files
	gofmt -l -w proto/gen pkg services tests
	@if [ -x bin/buf ]; then bin/buf format -w; fi

.PHONY: lint
lint: ## golangci-lint and buf lint (installs the pinned tools)
	scripts/tools.sh golangci-lint buf
	bin/golangci-lint run $(PATTERNS)
	bin/buf lint

.PHONY: security
security: ## known vulnerabilities in what is linked (govulncheck), unsafe code (gosec)
	scripts/security.sh

.PHONY: breaking
breaking: ## check that no stored or served message changed its wire form since BASE (main)
	scripts/tools.sh buf
	bin/buf breaking --against '.git#branch=$(or $(BASE),main)'

.PHONY: vet
vet: ## go vet in every module
	go vet work

.PHONY: tidy
tidy: ## tidy every module in dependency order
	for m in $(MODULES); do GOWORK=off go -C $$m mod tidy; done
	go work sync
	for m in $(MODULES); do GOWORK=off go -C $$m mod tidy; done

.PHONY: tidy-check
tidy-check: ## fail when a go.mod is not tidy
	for m in $(MODULES); do GOWORK=off go -C $$m mod tidy -diff; done

.PHONY: standalone
standalone: ## build each module without the workspace, which hides undeclared imports
	for m in $(MODULES); do GOWORK=off go -C $$m vet ./...; done

.PHONY: borders
borders: ## check what may import what
	scripts/check-imports.sh

.PHONY: clean
clean: ## remove binaries and demo data
	rm -rf bin/wxbus $(addprefix bin/,$(BINARIES)) data

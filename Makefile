# moqrelay. `make help` lists the targets; each does its own set-up.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/moqrelay/moqrelay/relay.Version=$(VERSION)
gobuild := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'

# The cluster that `make up` runs.
FILE ?= config/samples/relaycluster.yaml
# What `make test` runs: packages, and further flags of go test.
PKG ?= ./...
ARGS ?=
# The tiers of proof that have to run where CI=true.
TIERS ?= 0 1 2 3
# Where `make peers` puts other relays and clients, and `make interop` finds them.
export MOQ_PEERS_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/moqrelay/peers

# The race detector needs a C compiler.
race := $(if $(shell command -v "$$(go env CC)"),-race)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# What is built for people has the page in it, where Node.js is there to make
# it. Where that fails, as without a network, the rest is built all the same and
# the page says how to get it.
page_if_node := $(if $(shell command -v node),page-if-possible)

.PHONY: page-if-possible
page-if-possible:
	@hack/page/build.sh || echo 'goes on without the page for browsers; "make page" makes it' >&2

.PHONY: page
page: ## the page on which people publish and watch, for what is built afterwards; nothing to do when it is up to date (needs Node.js 20.19)
	@hack/page/build.sh

.PHONY: build
build: $(page_if_node) ## bin/moq-relay, bin/moq-operator and bin/moq
	$(gobuild) -o bin/ ./cmd/moq-relay ./cmd/moq-operator ./cmd/moq

.PHONY: images
images: $(if $(shell command -v node),page) ## container images of all three as OCI archives for amd64 and arm64, with their SBOMs, in dist/images; no engine needed
	@go run -C hack/e2e ./image/mkimage -source ../.. -dir ../../dist/images -version $(VERSION) \
	  -revision "$$(git rev-parse HEAD)" -created "$$(git log -1 --format=%ct)"

.PHONY: local
local: $(page_if_node)
	@$(gobuild) -o bin/ ./cmd/moq-relay ./cmd/moq

.PHONY: up
up: local ## run a whole cluster on this machine: a root, two regions and a status page (FILE=relaycluster.yaml)
	@bin/moq up -f $(FILE)

.PHONY: demo
demo: local ## a clip through two regions: samples compared, latency and join time shown
	@bin/moq demo -f $(FILE)

.PHONY: e2e-command
e2e-command:
	@CGO_ENABLED=0 go build -C hack/e2e -trimpath -o ../../bin/e2e .

.PHONY: kube-up
kube-up: build e2e-command ## a real Kubernetes of two nodes on this machine with operator and relays, as root (ARGS='--id ID --nodes N'); compiles it once
	@bin/e2e up $(ARGS) >/dev/null
	@bin/e2e install $(ARGS)

.PHONY: kube-down
kube-down: e2e-command ## remove it and all that it left
	@bin/e2e down $(ARGS)

.PHONY: e2e
e2e: build e2e-command ## the suite on a real Kubernetes of its own, media running throughout; prints what watchers lost (ARGS='-- -test.run=X')
	@bin/e2e test $(ARGS)

.PHONY: test
test: ## all tests (PKG=./relay/... ARGS='-run TestX' for some); builds a control plane once
	@$(if $(race),,echo "no C compiler: without the race detector")
	@hack/helm3/build.sh >/dev/null
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$(hack/e2e/build.sh)}" MOQ_PEERS_DIR= MOQ_BROWSER= \
	  go run ./hack/testsum -want '$(TIERS)' -- $(race) -timeout 15m $(ARGS) $(PKG)

.PHONY: monitoring
monitoring: ## dashboard and alerts against what a real run exports (a module of its own; compiles Prometheus once, 3 minutes)
	@cd hack/monitoring && go test $(ARGS) ./...

.PHONY: lint
lint: ## linters and the formatting they want, pinned in hack/tools
	@"$$(hack/tools/build.sh golangci-lint)/golangci-lint" run $(PKG)
	@cd hack/e2e && "$$(../tools/build.sh golangci-lint)/golangci-lint" run ./...

.PHONY: fmt
fmt: ## format as `make lint` wants it
	@"$$(hack/tools/build.sh golangci-lint)/golangci-lint" fmt

.PHONY: generate
generate: ## rewrite what is made from Go types: deepcopy, CRDs, RBAC
	@hack/generate.sh

.PHONY: peers
peers: ## build the relays and clients of others that we must work with (needs cargo)
	@hack/peers/build.sh

.PHONY: interop
interop: $(page_if_node) ## run our relay and client against theirs, and the page in a browser; says which of them are not there
	@go test -count=1 -timeout 40m -parallel 4 -v ./hack/interop
	@hack/browser/install.sh && MOQ_BROWSER=1 go test -count=1 -timeout 20m -v ./hack/browser

.PHONY: browser
browser: ## run the page in a headless Chromium against our relays (others: MOQ_BROWSER_RELAYS=publish-URL,watch-URL or MOQ_BROWSER_PAGE=URL; ARGS='-run U34'); pictures in bin/browser, with ARGS=-update the README's
	@hack/browser/install.sh
	@hack/page/build.sh
	@MOQ_BROWSER=1 go test -count=1 -timeout 20m -v ./hack/browser $(ARGS)

.PHONY: bench
bench: ## benchmarks into bin/bench.txt, compared with BASE=file if given; then load on relays (LOAD='--hops 1 --workload audio')
	@mkdir -p bin
	@go test -run '^$$' -bench . -benchmem -count 6 ./relay/... | tee bin/bench.txt
	@"$$(hack/tools/build.sh benchstat)/benchstat" $(BASE) bin/bench.txt
	@go run ./hack/bench $(LOAD)

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what we call; skipped where the database cannot be reached
	@hack/vulncheck.sh

.PHONY: clean
clean: ## remove what was built here; caches outside the checkout stay
	rm -rf bin dist

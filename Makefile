# Everything that builds, checks and runs aiwatch. `make help` lists it.
#
# Nothing needs to be installed by hand but Go, git, make, a C compiler (for the
# race detector) and Python 3: pinned tools and test counterparts come from
# tools/, see tools/README.md.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# How often a randomised or killing test repeats itself.
AIWATCH_ROUNDS ?= 10
export AIWATCH_ROUNDS

# How long each fuzz target runs with `make fuzz`.
FUZZTIME ?= 10s

# How often each benchmark runs, and which (a regular expression).
BENCHCOUNT ?= 5
BENCH ?= .

# Do not ask git about the clone while building: a CI's checkout may belong to
# somebody else, which git refuses to read.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

TOOLS := tools/tools.sh
LINTERS := gofumpt govulncheck staticcheck
COUNTERPARTS := $(filter-out $(LINTERS) benchstat gotestsum,$(notdir $(patsubst %/,%,$(wildcard tools/*/))))
GOTESTSUM = "$$($(TOOLS) path gotestsum)/bin/gotestsum" --format pkgname --format-hide-empty-pkg

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Build tags of `make build`: TAGS=scs adds the destination Splunk Cloud Services
# (forwarder/scs/README.md says why it is not there without).
TAGS ?=

.PHONY: build
build: ## build dist/aiwatch; TAGS=scs adds Splunk Cloud Services
	CGO_ENABLED=0 go build -trimpath -tags '$(TAGS)' -o dist/aiwatch ./cmd/aiwatch

.PHONY: package
package: ## build the archives of the Splunk add-on and app, bills of materials and checksums into dist/
	go run ./internal/packaging/build dist

CHECKS := format vet staticcheck generated tidy house vulnerabilities

.PHONY: check $(CHECKS) linters
check: $(CHECKS) ## format, vet, staticcheck, generated files, go.mod, house rules, vulnerabilities; with -k all of them

linters:
	$(TOOLS) install $(LINTERS)

format: linters
	@unformatted=$$("$$($(TOOLS) path gofumpt)/bin/gofumpt" -l .); \
		[[ -z $$unformatted ]] || { printf 'not formatted, run gofumpt -w on:\n%s\n' "$$unformatted"; exit 1; }

vet:
	go vet ./...
	go vet -tags scs ./cmd/aiwatch

staticcheck: linters
	"$$($(TOOLS) path staticcheck)/bin/staticcheck" ./...
	"$$($(TOOLS) path staticcheck)/bin/staticcheck" -tags scs ./cmd/aiwatch

generated:
	.ci/generated

tidy:
	go mod tidy -diff

house:
	go test -count=1 ./internal/house

vulnerabilities: linters
	.ci/vulnerabilities

.PHONY: test
test: ## every test: first under the race detector without counterparts, then all with the real counterparts
	$(TOOLS) install gotestsum
	@# Without the CI variable a test whose counterpart is absent is skipped by name.
	$(TOOLS) install $(COUNTERPARTS) || [[ -z $${CI:-} ]]
	if $(TOOLS) path otelhec >/dev/null; then cd tools/otelhec && go vet .; fi
	$(GOTESTSUM) --hide-summary skipped -- -race -short -timeout 15m ./...
	@# Never from the cache: a counterpart is no part of what the cache looks at.
	$(GOTESTSUM) -- -count=1 -timeout 30m ./...
	@# What is in the program with the tag alone.
	$(GOTESTSUM) -- -count=1 -tags scs -run '^TestSCS' ./cmd/aiwatch

.PHONY: soak
soak: ## every test with the full counts (AIWATCH_ROUNDS=100); takes hours
	$(TOOLS) install gotestsum $(COUNTERPARTS)
	AIWATCH_ROUNDS=100 $(GOTESTSUM) -- -count=1 -timeout 6h ./...

.PHONY: bench
bench: ## the benchmarks that BENCH matches, BENCHCOUNT times, summed up
	$(TOOLS) install benchstat otelhec
	mkdir -p dist
	AIWATCH_SPL_EVENTS=$${AIWATCH_SPL_EVENTS:-1000000} go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCHCOUNT) -timeout 2h ./... | tee dist/bench.txt
	"$$($(TOOLS) path benchstat)/bin/benchstat" dist/bench.txt

.PHONY: demo
demo: build ## an insider's week on this machine alone: collected, delivered, searched, told
	dist/aiwatch demo

.PHONY: preview
preview: ## the app in a browser, without Splunk; PREVIEW="--events FILE" or other flags of splunk_app/preview/serve
	$(TOOLS) install dashboards
	go run ./splunk_app/preview/serve $(PREVIEW)

.PHONY: screenshots
screenshots: ## the pictures of the dashboards in docs/screenshots, from the insider's week
	$(TOOLS) install dashboards
	go run ./splunk_app/preview/shoot --pictures docs/screenshots

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@go list ./... | while read -r package; do \
		go test -list '^Fuzz' "$$package" | { grep '^Fuzz' || true; } | while read -r target; do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

.PHONY: tools
tools: ## install every pinned tool and test counterpart
	$(TOOLS) install

.PHONY: clean
clean: ## remove what was built here (installed tools stay)
	rm -rf dist aiwatch-demo .work

# Parlor's chores. `make help` lists them.

GO ?= go
FUZZTIME ?= 10s

# npm writes this file last, so its age is that of the installed packages.
NODE_PACKAGES := $(patsubst %,test/%/node_modules/.package-lock.json,pouchdb oidc)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: build
build: ## build ./parlor
	$(GO) build -o parlor ./cmd/parlor

.PHONY: fmt
fmt: ## format all Go files
	gofmt -l -w $$(git ls-files '*.go')

.PHONY: test
test: cc chromium $(NODE_PACKAGES) vet fuzz ## install what the tests need and run all of them
	$(GO) test -race -count=1 -timeout 30m ./...
	$(GO) test -count=1 -run '^TestManySessions$$' ./server

.PHONY: vet
vet: ## format check, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Two at a time, each with one worker: a target's time passes whether or not it has the machine to itself. Go sometimes
# calls the end of that time a failure ("context deadline exceeded"); one that was found always names its input.
.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@$(GO) list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir pkg; do \
		for target in $$(grep -hosE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | sed 's/^func //'); do \
			echo "$$pkg $$target"; \
		done; \
	done | xargs -P 2 -L 1 sh -c '\
		out=$$($(GO) test -run "^$$" -parallel 1 -fuzz "^$$1$$" -fuzztime $(FUZZTIME) "$$0" 2>&1); status=$$?; \
		case "$$out" in *"Failing input"*) ;; *"context deadline exceeded"*) status=0;; esac; \
		printf "%s\n%s\n" "fuzz $$1" "$$out"; exit $$status'

.PHONY: bench-quick
bench-quick: wrk ## measure beside a bare net/http server, under two minutes
	$(GO) run ./bench

.PHONY: bench-sessions
bench-sessions: wrk ## measure first uses of tokens, and the look-up of 100,000 sessions
	$(GO) run ./bench -sessions 100000

# The race detector needs a C compiler.
.PHONY: cc
cc:
	@command -v $$($(GO) env CC) >/dev/null || { $(call install,gcc libc6-dev); }

# Without a browser the test of logging in with one is skipped, or fails where CI is set.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if command -v apt-get >/dev/null; then $(call install,chromium); else echo "Chromium is missing: logging in in a browser is not tested"; fi

.PHONY: wrk
wrk:
	@command -v wrk >/dev/null || { $(call install,wrk); }

install = echo "installing $(1)"; SUDO=; [ "$$(id -u)" = 0 ] || SUDO=sudo; \
	$$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq --no-install-recommends $(1) || \
	{ echo "install $(1) by hand, then run make again" >&2; exit 1; }

# Without npm the tests of real clients are skipped, or fail where CI is set.
test/%/node_modules/.package-lock.json: test/%/package-lock.json
	@if command -v npm >/dev/null; then cd test/$* && npm ci --no-audit --no-fund --ignore-scripts; \
	else echo "npm is missing: the clients of test/$* are not tested"; fi

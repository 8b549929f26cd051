# make demo and make test need Debian 12 or newer with Go >= 1.25, make and git;
# everything else they install themselves (as root) or say what is missing.
SHELL := /bin/bash
GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export CAIRN_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cairn/tools

.PHONY: all build demo test vet lint unit tools bench picture clean setup-demo setup-test

all: build

# The binary is static: it runs on any Linux of its architecture.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o cairn .

demo: setup-demo build
	@tools/build.sh rest-server >/dev/null
	@./cairn demo

# Everything: static checks, unit, golden frames, contract tests on real tools,
# fault injection, end to end in a terminal; all with the race detector.
test: setup-test tools build vet lint unit

vet:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not gofmt-ed:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags bench ./internal/e2e
	$(GO) vet -tags faults ./internal/operation ./internal/runbook/...

lint:
	$$(tools/build.sh lint)/staticcheck ./...

unit:
	$(GO) test -race -p 2 -timeout 12m ./...

tools:
	@for t in lint rest-server restic-0.18 restic-0.19 s3-gateway; do tools/build.sh $$t >/dev/null || exit 1; done

# Speed and cost against their budgets, as one table: docs/performance.md.
bench: build
	$(GO) test -tags bench -count=1 -timeout 60m -v -run '^TestBudgets$$' ./internal/e2e

# The picture in the README, drawn from the program itself.
picture: build
	python3 tools/picture.py docs/board.svg

setup-demo:
	@tools/setup.sh demo

setup-test:
	@tools/setup.sh test

clean:
	rm -f cairn

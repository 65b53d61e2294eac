# Two commands matter: `make run` shows a container, `make test` proves the runtime. `make help` lists the rest.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=

# Evaluated where used: rustc may have been installed by then.
TRIPLE   = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RELEASE  = $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/release
ORLOP    = $(RELEASE)/orlop

.PHONY: run test unit differential integration guest-test guest-full engines compat bench build install fmt lint clean help packages cargo

run: build fixtures/bundles/hello/rootfs ## Build, then run a container that introduces itself
	@fixtures/run-hello $(ORLOP)

test: packages ## All tests: without root first, then real containers (needs root or sudo)
	@integration/all

unit: cargo ## Only the tests that need no root
	$(CARGO) test

differential: cargo ## Compare ten million answers of seccomp filters with libseccomp's
	SECCOMP_POINTS=10000000 $(CARGO) test --release --test modules the_same_answers_as_libseccomp -- --nocapture

integration: cargo ## Only the real containers; T=lifecycle::state picks some
	@integration/all integration $(T)

guest-test: cargo packages ## Only what needs a kernel of its own: real limits, under User-mode Linux
	@integration/all guest $(T)

guest-full: cargo packages ## Only what needs systemd or rarer controllers, in guests that systemd has booted
	@fixtures/packages guest-full
	@integration/all guest-full $(T)

engines: cargo packages ## Drive it by Docker, containerd, Podman and others; RUNTIME=runc for another, E='docker exec' picks some
	@fixtures/packages engines
	$(CARGO) build --release --workspace --bins
	@integration/engines/run $(E)

compat: build ## Run runc's own suite, from the distribution's source package; RUNTIME=runc or crun for another
	@integration/compat/run $(T)

bench: build ## Compare with the floor and with the runtimes installed here
	@install -D -m 755 $(ORLOP) target/bench/orlop # as the others are, which were installed too
	python3 integration/bench/bench.py --orlop target/bench/orlop --json target/bench.json --svg target/bench.svg
	@echo
	python3 integration/bench/seccomp.py --orlop target/bench/orlop

build: cargo packages ## The static release binary
	$(CARGO) build --release --bin orlop

fixtures/bundles/hello/rootfs: fixtures/make-rootfs fixtures/bundles/hello/hello | packages
	fixtures/make-rootfs $@
	@touch $@

install: build ## Install below PREFIX (/usr/local), staged in DESTDIR
	install -D -m 755 $(ORLOP) $(DESTDIR)$(PREFIX)/bin/orlop

fmt: ## Format the code
	$(CARGO) fmt --all

lint: cargo ## Formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf fixtures/bundles/*/rootfs

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

# What is missing, by apt, and nothing else; silent and offline when all is there.
packages:
	@fixtures/packages

cargo: packages
	@fixtures/packages cargo

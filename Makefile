# Two commands matter: `make run` shows a container, `make test` proves the runtime. `make help` lists the rest.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=

# Evaluated where used: rustc may have been installed by then.
TRIPLE   = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RELEASE  = $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/release
ORLOP    = $(RELEASE)/orlop

.PHONY: run test unit differential integration guest-test guest-full engines compat bench build install targets fmt lint clean help packages toolchain cargo

run: toolchain ## Build, then run a container that introduces itself
	@$(MAKE) --no-print-directory build fixtures/bundles/hello/rootfs
	@fixtures/run-hello $(ORLOP)

test: packages ## All tests: without root first, then real containers (needs root or sudo)
	@integration/all

unit: toolchain ## Only the tests that need no root
	$(CARGO) test

differential: toolchain ## Compare ten million answers of seccomp filters with libseccomp's
	SECCOMP_POINTS=10000000 $(CARGO) test --release --test modules the_same_answers_as_libseccomp -- --nocapture

integration: toolchain ## Only the real containers; T=lifecycle::verbs picks some
	@integration/all integration $(T)

guest-test: toolchain ## Only what needs a kernel of its own: real limits, under User-mode Linux
	@integration/all guest $(T)

guest-full: toolchain ## Only what needs systemd or rarer controllers, in guests that systemd has booted
	@fixtures/packages guest-full
	@integration/all guest-full $(T)

engines: toolchain ## Drive it by Docker, containerd, Podman and others; RUNTIME=runc for another, E='docker exec' picks some
	@fixtures/packages engines
	$(CARGO) build --release --workspace --bins
	@integration/engines/run $(E)

compat: toolchain ## Run runc's own suite, from the distribution's source package; RUNTIME=runc or crun for another
	@$(MAKE) --no-print-directory build
	@integration/compat/run $(T)

bench: toolchain ## Compare with the floor and with the runtimes installed here
	@$(MAKE) --no-print-directory build
	@install -D -m 755 $(ORLOP) target/bench/orlop # as the others are, which were installed too
	python3 integration/bench/bench.py --orlop target/bench/orlop --json target/bench.json --svg target/bench.svg
	@echo
	python3 integration/bench/seccomp.py --orlop target/bench/orlop

build: cargo ## The static release binary
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
	$(CARGO) clippy --workspace --all-targets --test integration -- -D warnings

# Those of the README's table; without a standard library for one (rustup target add) it is passed over, and told.
TARGETS = $(foreach arch,x86_64 aarch64 riscv64gc powerpc64le s390x loongarch64,$(arch)-unknown-linux-gnu) \
	$(foreach arch,x86_64 aarch64 riscv64gc,$(arch)-unknown-linux-musl)
targets: cargo ## Check the types for every target whose standard library is installed
	@for target in $(TARGETS); do \
		if ls "$$(rustc --print target-libdir --target $$target)"/libstd-*.rlib >/dev/null 2>&1; then \
			echo "$$target"; $(CARGO) check --quiet --bin orlop --target $$target || exit 1; \
		else echo "$$target: no standard library, not checked"; fi; done

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf fixtures/bundles/*/rootfs

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

# What is missing, by apt, and nothing else; silent and offline when all is there.
packages:
	@fixtures/packages

# What tests are built with.
toolchain: packages
	@fixtures/packages cargo

# What a build needs; says what is missing, and installs nothing.
cargo:
	@fixtures/packages cargo

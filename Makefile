# The two main targets are `make run`, which runs a container, and `make test`, which runs all tests. `make help` lists the rest.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
PROFILE ?= release

# Evaluated on use: an earlier target may install rustc first.
HOST     = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TRIPLE   = $(or $(TARGET),$(HOST))
BUILT    = $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/$(PROFILE)
ORLOP    = $(BUILT)/orlop
DOCS     = $(or $(CARGO_TARGET_DIR),target)/docs

.PHONY: run test unit differential integration guest-test guest-full mutants engines faults faults-kill compat bench bench-linux7 bench-scale build docs install stage deb rpm dist packages-test targets fmt lint advisories licences reproducible release-check clean help packages toolchain cargo

run: toolchain ## Build, then run a container that describes itself
	@$(MAKE) --no-print-directory build fixtures/bundles/hello/rootfs
	@fixtures/run-hello $(ORLOP)

test: packages ## Run all tests: first those without root, then real containers (needs root or sudo)
	@integration/all

unit: toolchain ## Run only the tests that need no root
	$(CARGO) test -p orlop -p orlop-manual

differential: toolchain ## Compare ten million results of seccomp filters with libseccomp's
	SECCOMP_POINTS=10000000 $(CARGO) test --release --test modules filters_return_the_same_actions_as_libseccomps -- --nocapture

integration: toolchain ## Run only the tests with real containers; T=lifecycle::kill selects some
	@integration/all integration $(T)

guest-test: toolchain ## Run only the tests that need a separate kernel: real limits, under User-mode Linux; RELEASE=sid for that of another Debian, T=mounts:: for other tests
	@$(if $(RELEASE),fixtures/packages release)
	@integration/all guest $(T)

guest-full: toolchain ## Run only the tests that need systemd or less common controllers, in guests booted by systemd
	@fixtures/packages guest-full
	@integration/all guest-full $(T)

mutants: toolchain ## Remove each defence once, and check that the tests notice it; M=null-device selects some
	@integration/mutants/run $(M)

engines: toolchain ## Test under Docker, Podman and others; RUNTIME=runc for another runtime, RELEASE=sid for another Debian's engines, E='docker exec' selects some
	@fixtures/packages $(if $(RELEASE),release,engines)
	$(CARGO) build --release -p orlop -p probe --bins
	@integration/engines/run $(E)

faults: toolchain ## Make every system call of every verb fail once, and see that nothing leaks, hangs or lies; VERB=run CONFIG=docker EVERY=5 select some, RUNTIME=runc for another runtime
	@FAULTS=all VERB="$(VERB)" CONFIG="$(CONFIG)" FAULT="$(FAULT)" EVERY="$(EVERY)" \
		integration/all integration "faults::a_failing_call --nocapture"

faults-kill: toolchain ## Kill the runtime, init, or both before every system call; selected as with faults
	@FAULTS=all VERB="$(VERB)" CONFIG="$(CONFIG)" FAULT="$(FAULT)" EVERY="$(EVERY)" \
		integration/all integration "faults::a_killed_runtime faults::a_power_failure --nocapture"

compat: toolchain ## Run runc's test suite, from the distribution's source package; RUNTIME=runc or crun for another runtime
	@$(MAKE) --no-print-directory build
	@integration/compat/run $(T)

bench bench-linux7 bench-scale: PROFILE = dist
bench: toolchain ## Compare with the floor and with the installed runtimes
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE)
	@install -D -m 755 $(ORLOP) target/bench/orlop # a fair comparison: the other runtimes are installed copies too
	python3 integration/bench/bench.py --orlop target/bench/orlop --json target/bench.json --svg target/bench.svg
	@echo
	python3 integration/bench/seccomp.py --orlop target/bench/orlop

bench-linux7: toolchain ## Compare the two ways to make a mount namespace in a guest with Linux 7, by how many mounts the host has; takes minutes
	@fixtures/packages release
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE)
	@install -D -m 755 $(ORLOP) target/bench/orlop
	GUEST_MEMORY=1536M integration/engines/release sid integration/guest/run integration/pure-v2 \
		python3 integration/bench/linux7.py $(CURDIR)/target/bench/orlop

bench-scale: toolchain ## Compare with the installed runtimes with 1,000 and 3,000 containers alive; takes minutes
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE)
	@install -D -m 755 $(ORLOP) target/bench/orlop
	python3 integration/bench/scale.py --orlop target/bench/orlop --json target/scale.json --svg target/scale.svg

# `release` is sooner built after a change, `dist` is what is shipped.
build: cargo ## Build the static binary; PROFILE=dist as it is shipped, TARGET=aarch64-unknown-linux-gnu for another machine
	@CARGO=$(CARGO) packaging/compile $(PROFILE) $(TARGET)

fixtures/bundles/hello/rootfs: fixtures/make-rootfs fixtures/bundles/hello/hello | packages
	fixtures/make-rootfs $@
	@touch $@

docs: cargo ## Write the man pages and the completions to target/docs
	@rm -rf $(DOCS)
	$(CARGO) run --quiet -p orlop-manual -- $(DOCS)

install: build docs ## Install the binary, man pages and completions under PREFIX (/usr/local), staged in DESTDIR
	install -D -m 755 $(ORLOP) $(DESTDIR)$(PREFIX)/bin/orlop
	cd $(DOCS) && find share -type f -exec install -D -m 644 {} $(abspath $(DESTDIR)$(PREFIX))/{} \;

# Packages, of the profile `dist`. The time of all files is that of the last commit, unless SOURCE_DATE_EPOCH is set.
PACKAGES = target/packages
VERSION  = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)
NAME     = orlop-$(VERSION)-$(TRIPLE)
stage deb rpm dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

stage deb rpm dist: PROFILE = dist
stage: docs
	@CARGO=$(CARGO) packaging/compile $(PROFILE) $(TARGET)
	@packaging/stage $(ORLOP) $(DOCS) target/stage
	@mkdir -p $(PACKAGES)

deb: stage ## Make Debian packages in target/packages: orlop, and orlop-runc and orlop-crun in the place of runc and crun
	@rm -f $(PACKAGES)/*.deb
	tool=$$(fixtures/cargo-tool cargo-deb 3.8.0) && for variant in "" runc crun; do \
		$$tool --no-build --no-strip --locked $(if $(TARGET),--target $(TARGET)) $${variant:+--variant=$$variant} --output $(PACKAGES)/ || exit 1; done

rpm: stage ## Make the same as RPM packages
	@fixtures/packages rpm
	@rm -f $(PACKAGES)/*.rpm
	rpmbuild --quiet -bb --target $(subst powerpc64le,ppc64le,$(subst gc-,-,$(TRIPLE))) --define "own_version $(VERSION)" --define "stage $(abspath target/stage)" --define "_topdir $(abspath target/rpmbuild)" \
		--define "_rpmdir $(abspath $(PACKAGES))" --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" packaging/orlop.spec
	@rm -rf target/rpmbuild

dist: stage ## Make an archive of the program, man pages, completions, documents and licences, and checksums of all packages there are
	@rm -f $(PACKAGES)/*.tar.gz
	packaging/tarball target/stage $(NAME) $(PACKAGES)/$(NAME).tar.gz
	cd $(PACKAGES) && rm -f SHA256SUMS && sha256sum -- *.tar.gz $$(ls *.deb *.rpm 2>/dev/null) >SHA256SUMS

packages-test: ## Install the packages into empty trees of Debian 12 and 13 and of an RPM distribution, use them, and remove them (needs root)
	@fixtures/packages packages-test
	@$(MAKE) --no-print-directory deb rpm
	@$(MAKE) --no-print-directory dist
	@integration/packages $(T)

fmt: ## Format the code
	$(CARGO) fmt --all

lint: cargo ## Check formatting, run clippy, and build the library's documentation; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --test integration -- -D warnings # `test = false` leaves it out of --all-targets
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --lib
	$$(fixtures/cargo-tool $(DENY)) --log-level error --offline check licenses bans sources

# Pinned. It is compiled when it is first used, which takes some minutes.
DENY = cargo-deny 0.20.2
advisories: cargo ## Look up known vulnerabilities of the libraries, over the network
	$$(fixtures/cargo-tool $(DENY)) check advisories

licences: cargo ## Write THIRD-PARTY.md and orlop.cdx.json anew, from Cargo.lock
	@packaging/licences

reproducible: cargo ## Build three times, in different directories and from an archive of the source, and compare
	@integration/reproducible

release-check: toolchain ## Go through the list of what a release needs
	@packaging/release-check

# The targets in docs/platforms.md. One whose standard library is not installed (rustup target add) is reported and skipped.
TARGETS = $(foreach arch,x86_64 aarch64 riscv64gc powerpc64le s390x loongarch64,$(arch)-unknown-linux-gnu) \
	$(foreach arch,x86_64 aarch64 riscv64gc,$(arch)-unknown-linux-musl)
targets: cargo ## Type-check for every target whose standard library is installed
	@for target in $(TARGETS); do \
		if ls "$$(rustc --print target-libdir --target $$target)"/libstd-*.rlib >/dev/null 2>&1; then \
			echo "$$target"; $(CARGO) check --quiet --bin orlop --target $$target || exit 1; \
		else echo "$$target: no standard library, not checked"; fi; done

clean: ## Remove build output
	$(CARGO) clean
	rm -rf fixtures/bundles/*/rootfs

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

# Installs missing packages with apt, and nothing else. Silent and offline if nothing is missing.
packages:
	@fixtures/packages

# Everything needed to build the tests.
toolchain: packages
	@fixtures/packages cargo

# Checks for what a build needs and reports what is missing; installs nothing.
cargo:
	@fixtures/packages cargo

# The same verbs at home and in CI. `make demo` and `make test` install what they miss (Debian, as root).

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
TARGET ?= $(or $(CARGO_TARGET_DIR),target)
BINARIES = backupd ctl_backups cyr_backup restore mount-cyrusbackup

.PHONY: all build demo figures test test-packages bench check soak fuzz-smoke install uninstall clean

all: build

build:
	@contrib/setup/toolchain.sh
	$(CARGO) build --release --locked --bins

demo:
	@contrib/demo/run.sh

# A test program that hangs is ended after LIMIT, and the others still run: libtest has named the test by then.
LIMIT ?= 15m
test: test-packages
	$(CARGO) build --locked --bins --examples
	$(CARGO) test --locked --no-fail-fast --config 'target."cfg(unix)".runner=["timeout","--kill-after=10","$(LIMIT)"]' \
		-- --test-threads=2

# Where packages cannot be installed, the tests that need them say so and are left out; with CI set they fail.
test-packages:
	@contrib/setup/toolchain.sh
	@contrib/setup/packages.sh build cyrus mount newer service || [ -z "$$CI" ]
	@contrib/setup/newer-cyrus.sh trixie sid || [ -z "$$CI" ]

# Beside C's programs, in one table: make bench [SIZE=small|full] [ONLY=name] [RUNS=5] [JSON=file].
SIZE ?= small
bench: test-packages
	$(CARGO) bench --locked --bench system -- --size $(SIZE) $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(JSON),--json $(abspath $(JSON)))

# The mount against ext4, C, restic and borg: figures of this machine. FIGURES=megabytes.
figures:
	@contrib/setup/packages.sh mount bench cyrus
	FIGURES=$(or $(FIGURES),1000) $(CARGO) test --release --locked --test mount-tests figures -- --nocapture

check:
	@contrib/setup/toolchain.sh
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --test tidy

# The long forms of some tests: 300 actions with each client, ten moments of 300 actions, 20 rounds of each race
# with a mount, a mount of 20,000 messages beside IMAP, 500 kills, 1,000 sessions at once, a user of 3,000
# messages lost and restored.
soak: test-packages
	SOAK=1 $(CARGO) test --locked --no-fail-fast --test end_to_end script_ -- --test-threads=1
	SOAK=1 $(CARGO) test --locked --no-fail-fast --test end_to_end moments
	RACE_ROUNDS=20 $(CARGO) test --locked --test end_to_end hold
	RACE_ROUNDS=20 $(CARGO) test --locked --test mount-tests race
	SOAK=1 $(CARGO) test --locked --test mount-tests scale -- --nocapture
	MOUNT_MESSAGES=20000 $(CARGO) test --locked --test end_to_end mounted
	SOAK=1 $(CARGO) test --locked --no-fail-fast --test crash
	CROWD=1000 $(CARGO) test --locked --test service crowd -- --nocapture
	RESTORE_MESSAGES=3000 $(CARGO) test --locked --test restore round_trip
	SOAK=1 $(CARGO) test --locked --test cli -- killed power_cut

# One minute of fuzzing, shared by all targets; works with the stable toolchain.
fuzz-smoke:
	@contrib/setup/toolchain.sh
	@contrib/fuzz/run.sh 60

install:
	@for binary in $(BINARIES); do [ -x "$(TARGET)/release/$$binary" ] || { echo "install: run make first" >&2; exit 1; }; done
	install -d "$(DESTDIR)$(PREFIX)/sbin" "$(DESTDIR)/sbin"
	install -m 755 $(BINARIES:%=$(TARGET)/release/%) "$(DESTDIR)$(PREFIX)/sbin"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)$(PREFIX)/share/doc/cyrusbackup"
	for unit in cyrus-backupd.socket cyrus-backupd.service; do \
		sed 's,/usr/local,$(PREFIX),g' contrib/systemd/$$unit >"$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit" || exit 1; \
	done
	install -d "$(DESTDIR)$(PREFIX)/share/man/man8"
	install -m 644 contrib/man/*.8 "$(DESTDIR)$(PREFIX)/share/man/man8"
	install -m 644 README.md contrib/cyrus/cyrus.conf.example "$(DESTDIR)$(PREFIX)/share/doc/cyrusbackup"
	# mount(8) looks for its helpers in /sbin only.
	ln -sfn "$(PREFIX)/sbin/mount-cyrusbackup" "$(DESTDIR)/sbin/mount.cyrusbackup"
	# `mount -o remount` and `-t fuse.cyrusbackup` look here.
	ln -sfn "$(PREFIX)/sbin/mount-cyrusbackup" "$(DESTDIR)/sbin/mount.fuse.cyrusbackup"

uninstall:
	rm -rf "$(DESTDIR)$(PREFIX)/share/doc/cyrusbackup"
	for page in contrib/man/*.8; do rm -f "$(DESTDIR)$(PREFIX)/share/man/man8/$${page##*/}"; done
	rm -f $(BINARIES:%="$(DESTDIR)$(PREFIX)/sbin/%") "$(DESTDIR)$(PREFIX)/lib/systemd/system/cyrus-backupd.socket" "$(DESTDIR)$(PREFIX)/lib/systemd/system/cyrus-backupd.service" "$(DESTDIR)/sbin/mount.cyrusbackup" "$(DESTDIR)/sbin/mount.fuse.cyrusbackup"

clean:
	$(CARGO) clean

# fcgate. `make help` lists what there is; only `make demo` and `make test` install system packages.
#
# GNU make. cargo builds the Rust code; this file does what cargo does not: the names of the
# library, the C programs, installing, and the set-up of the demo and the tests.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VERSION := $(shell sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The number in the soname, set in build.rs: it changes when the ABI breaks, and then only.
SOVERSION := $(shell sed -n 's/.*-soname,libfcgate\.so\.\([0-9]*\).*/\1/p' build.rs)

CARGO ?= cargo
CARGO_FLAGS ?= --locked
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BUILD := build

CC ?= cc
CXX ?= c++
CFLAGS ?= -O2 -g
C_WARNINGS := -Wall -Wextra -Werror -pedantic
PKG_CONFIG ?= pkg-config

PREFIX ?= /usr/local
INCLUDEDIR ?= $(PREFIX)/include
# Debian's linker and pkg-config look into the directory of the architecture; elsewhere there is none.
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
LIBDIR ?= $(PREFIX)/lib$(if $(MULTIARCH),/$(MULTIARCH))
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

TIME ?= 60
# What Miri can run: the layers that make no system calls. A name is a path of modules in src/.
MIRI_TESTS ?= protocol:: connection:: cgi:: exchange:: capi::

HEADER := include/fcgate.h
REAL := libfcgate.so.$(VERSION)
SONAME := libfcgate.so.$(SOVERSION)
LIBRARY := $(BUILD)/$(SONAME)
SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock build.rs

has_header = $(shell printf '\#include <$(1)>\n' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)
NO_CIVETWEB := $(if $(call has_header,civetweb.h),,civetweb_server)
NO_LIBEVENT := $(if $(call has_header,event2/http.h),,libevent_server)
EXAMPLES := $(filter-out $(NO_CIVETWEB) $(NO_LIBEVENT),$(patsubst c_examples/%.c,%,$(wildcard c_examples/*.c)))
C_TESTS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/*.c))

##@ Building

# Debian calls it apxs too; where there is none, Apache's module is left out.
APXS ?= $(or $(shell command -v apxs),$(shell command -v apxs2))
APACHE_MODULE := $(if $(APXS),$(BUILD)/mod_fcgate.so)
# Where Apache has its modules, and where Debian's a2enmod looks for them; empty where there is none.
APACHE_LIBEXECDIR ?= $(if $(APXS),$(shell $(APXS) -q LIBEXECDIR))
APACHE_CONFDIR ?= $(if $(APXS),$(patsubst %/mods-available,%,$(wildcard $(shell $(APXS) -q SYSCONFDIR)/mods-available)))
APACHE_CONF = $(if $(APACHE_CONFDIR),$(APACHE_CONFDIR)/mods-available)
APACHE_LOAD_PATHS = -e 's|@LIBRARY@|$(LIBDIR)/$(SONAME)|' -e 's|@APACHE_LIBEXECDIR@|$(APACHE_LIBEXECDIR)|'

# Where there is no lighttpd, its module is left out; `make LIGHTTPD=` leaves it out too.
LIGHTTPD ?= $(shell PATH=$$PATH:/usr/sbin command -v lighttpd)
LIGHTTPD_VERSION := $(if $(LIGHTTPD),$(shell $(LIGHTTPD) -v 2>/dev/null | sed -n 's|^lighttpd/\([0-9.]*\).*|\1|p'))
LIGHTTPD_MODULE := $(if $(LIGHTTPD_VERSION),$(BUILD)/lighttpd/mod_fcgate.so)
# Where lighttpd has its modules, and where Debian's lighty-enable-mod looks; empty where there is none.
LIGHTTPD_LIBEXECDIR ?= $(if $(LIGHTTPD_VERSION),$(firstword $(wildcard /usr/lib/lighttpd /usr/lib64/lighttpd /usr/local/lib/lighttpd)))
LIGHTTPD_CONFDIR ?= $(if $(LIGHTTPD_VERSION),$(patsubst %/conf-available,%,$(wildcard /etc/lighttpd/conf-available)))
LIGHTTPD_CONF = $(if $(LIGHTTPD_CONFDIR),$(LIGHTTPD_CONFDIR)/conf-available)
# Its headers are in no package: its sources are fetched, of exactly that version.
LIGHTTPD_SOURCE ?= $(TARGET_DIR)/lighttpd-$(LIGHTTPD_VERSION)

# Debian's nginx-dev, or a source tree of nginx that was configured by the same words (NGINX_SRC=,
# NGINX_CONFIGURE= its arguments); where there is neither, nginx's module is left out.
NGINX_SRC ?= $(patsubst %/configure,%,$(wildcard /usr/share/nginx/src/configure))
NGINX_MODULE := $(if $(NGINX_SRC),$(BUILD)/ngx_http_fcgate_module.so)

.PHONY: all
all: library check-header examples apache lighttpd nginx ## the library, the check of its header, the C examples (the default)

.PHONY: library
library: $(LIBRARY) ## build/libfcgate.so, build/libfcgate.a

# cdylib and staticlib, without the rlib: with it in the same build, link-time optimisation is
# dropped in silence. What a static link needs besides is asked of rustc, for fcgate.pc.
$(LIBRARY): $(SOURCES)
	@scripts/rust
	@mkdir -p $(BUILD)
	$(CARGO) rustc $(CARGO_FLAGS) --release --lib --crate-type cdylib,staticlib -- \
	    --print native-static-libs=$(abspath $(TARGET_DIR))/native-static-libs
	@cp -f $(TARGET_DIR)/native-static-libs $(BUILD)/
	@cp -f $(TARGET_DIR)/release/libfcgate.a $(BUILD)/
	@cp -f $(TARGET_DIR)/release/libfcgate.so $(BUILD)/$(SONAME).new
	@ln -sf $(SONAME) $(BUILD)/libfcgate.so
	@mv -f $(BUILD)/$(SONAME).new $@

.PHONY: header
header: ## write include/fcgate.h anew from src/capi
	@scripts/rust
	FCGATE_WRITE=1 $(CARGO) test $(CARGO_FLAGS) --test header --test documents

.PHONY: check-header
check-header: $(BUILD)/header.checked ## compile the header as C99, C11, C17 and C++11

$(BUILD)/header.checked: $(HEADER)
	@mkdir -p $(@D)
	@for std in c99 c11 c17; do \
	    echo "$(CC) -std=$$std $(HEADER)"; \
	    $(CC) -std=$$std $(C_WARNINGS) -fsyntax-only -x c $(HEADER); \
	done
	@if command -v $(CXX) >/dev/null; then \
	    echo "$(CXX) -std=c++11 $(HEADER)"; \
	    $(CXX) -std=c++11 $(C_WARNINGS) -fsyntax-only -x c++ $(HEADER); \
	else \
	    echo "no C++ compiler: the header is not checked as C++"; \
	fi
	@touch $@

.PHONY: examples
examples: $(EXAMPLES:%=$(BUILD)/%) ## the programs of c_examples/, in build/
	@$(if $(NO_CIVETWEB),echo "civetweb_server is left out: there is no civetweb.h (Debian: libcivetweb-dev)")
	@$(if $(NO_LIBEVENT),echo "libevent_server is left out: there is no event2/http.h (Debian: libevent-dev)")

# They find the library beside themselves, so each runs as it stands in build/.
example_libs = -lfcgate
$(BUILD)/dlopen: example_libs = -ldl
$(BUILD)/civetweb_server: example_libs = -lfcgate -lcivetweb -lpthread -ldl
$(BUILD)/libevent_server: example_libs = -lfcgate -levent

$(EXAMPLES:%=$(BUILD)/%): $(BUILD)/%: c_examples/%.c $(HEADER) $(LIBRARY)
	$(CC) -std=c11 $(C_WARNINGS) $(CPPFLAGS) $(CFLAGS) -Iinclude -o $@ $< \
	    $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN' $(example_libs)

.PHONY: apache
apache: $(APACHE_MODULE) ## Apache's module: build/mod_fcgate.so
	@$(if $(APXS),,echo "mod_fcgate is left out: there is no apxs (Debian: apache2-dev)")

# What a compiler says of Apache's own headers is not ours to mend: they count as the system's.
APACHE_CFLAGS = $(shell $(APXS) -q CFLAGS) $(shell $(APXS) -q EXTRA_CPPFLAGS) \
    -isystem $(shell $(APXS) -q INCLUDEDIR) \
    $(patsubst -I%,-isystem %,$(shell $$($(APXS) -q APR_CONFIG 2>/dev/null || echo apr-1-config) --includes --cppflags))
APACHE_SOURCES := $(wildcard modules/apache/*.c)

$(BUILD)/mod_fcgate.so: $(APACHE_SOURCES) $(wildcard modules/apache/*.h) modules/settings.h $(HEADER) $(LIBRARY)
	$(CC) -std=gnu11 -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror $(APACHE_CFLAGS) $(CPPFLAGS) $(CFLAGS) \
	    -Iinclude -o $@ $(APACHE_SOURCES) $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN' -lfcgate

.PHONY: lighttpd
lighttpd: $(LIGHTTPD_MODULE) ## lighttpd's module: build/lighttpd/mod_fcgate.so
	@$(if $(LIGHTTPD_VERSION),,echo "lighttpd's module is left out: there is no lighttpd (Debian: lighttpd)")

# 1.4.69 is 0x10445; lighttpd refuses a module that was made for another version.
LIGHTTPD_CFLAGS = -DHAVE_CONFIG_H -DPACKAGE_NAME='"lighttpd"' -DPACKAGE_VERSION='"$(LIGHTTPD_VERSION)"' \
    -DLIGHTTPD_VERSION_ID=$(shell printf '0x%x%02x%02x' $(subst ., ,$(LIGHTTPD_VERSION))) \
    -Imodules/lighttpd -isystem $(LIGHTTPD_SOURCE)/src
LIGHTTPD_SOURCES := $(wildcard modules/lighttpd/*.c)

# Another lighttpd than the last time asks for another module.
LIGHTTPD_STAMP := $(BUILD)/lighttpd/for-$(LIGHTTPD_VERSION)
$(LIGHTTPD_STAMP):
	@mkdir -p $(@D)
	@rm -f $(@D)/for-* && touch $@

$(BUILD)/lighttpd/mod_fcgate.so: $(LIGHTTPD_STAMP) $(LIGHTTPD_SOURCES) $(wildcard modules/lighttpd/*.h) modules/settings.h $(HEADER) $(LIBRARY)
	@scripts/lighttpd-source '$(LIGHTTPD_VERSION)' '$(LIGHTTPD_SOURCE)'
	$(CC) -std=gnu11 -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror $(LIGHTTPD_CFLAGS) $(CPPFLAGS) $(CFLAGS) \
	    -Iinclude -o $@ $(LIGHTTPD_SOURCES) $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN/..:$(LIBDIR)' -lfcgate

.PHONY: nginx
nginx: $(NGINX_MODULE) ## nginx's module: build/ngx_http_fcgate_module.so
	@$(if $(NGINX_SRC),,echo "ngx_http_fcgate_module is left out: there is no source of nginx (Debian: nginx-dev)")

# Configured as Debian's own nginx is, which loads no other; a source tree of one's own is configured by
# NGINX_CONFIGURE, or as it comes. Nothing is written to that tree.
NGINX_CONFIGURE ?= $(if $(NGINX_SRC),$(shell . $(NGINX_SRC)/conf_flags 2>/dev/null && echo "$${NGX_CONF_FLAGS[@]}"))
NGINX_BUILD := $(abspath $(BUILD))/nginx

$(NGINX_BUILD)/Makefile: modules/nginx/config
	@mkdir -p $(@D)
	cd $(NGINX_SRC) && FCGATE_LIBDIR='$(abspath $(BUILD))' ./configure \
	    --with-cc-opt='-fPIC $(CPPFLAGS) $(CFLAGS)' --with-ld-opt='-fPIC $(LDFLAGS)' $(NGINX_CONFIGURE) \
	    --add-dynamic-module='$(abspath modules/nginx)' --builddir='$(NGINX_BUILD)' >$(@D)/configure.log
	@# The library is found beside the module, or where it is installed; configure's own shell would not let that through.
	sed -i -e "s|-lfcgate|-lfcgate -Wl,-rpath,'\$$\$$ORIGIN:$(LIBDIR)'|" $@

$(BUILD)/ngx_http_fcgate_module.so: $(wildcard modules/nginx/*.c modules/nginx/*.h) modules/settings.h $(HEADER) $(LIBRARY) \
    $(if $(NGINX_SRC),$(NGINX_BUILD)/Makefile)
	$(MAKE) -f $(NGINX_BUILD)/Makefile -C $(NGINX_SRC) modules
	@cp -f $(NGINX_BUILD)/ngx_http_fcgate_module.so $@

.PHONY: modules
modules: apache lighttpd nginx ## the modules of all three servers

##@ Trying

.PHONY: demo
demo: ## Apache before php-fpm: [SERVER=lighttpd|nginx|civetweb] [PORT=8080] [APP=bundled] [DEMO=check]
	@SERVER='$(SERVER)' PORT='$(PORT)' APP='$(APP)' DEMO='$(DEMO)' MAKE='$(MAKE_COMMAND)' \
	    TARGET_DIR='$(TARGET_DIR)' scripts/demo

.PHONY: demo-apache
demo-apache: $(APACHE_MODULE)
	@$(if $(APXS),:,echo "the demo needs apxs (Debian: apache2-dev)" >&2; exit 1)

.PHONY: demo-lighttpd
demo-lighttpd: $(LIGHTTPD_MODULE)
	@$(if $(LIGHTTPD_VERSION),:,echo "the demo needs lighttpd (Debian: lighttpd)" >&2; exit 1)

.PHONY: demo-nginx
demo-nginx: $(NGINX_MODULE)
	@$(if $(NGINX_SRC),:,echo "the demo needs the source of nginx (Debian: nginx-dev)" >&2; exit 1)

.PHONY: demo-civetweb
demo-civetweb: $(if $(NO_CIVETWEB),,$(BUILD)/civetweb_server)
	@$(if $(NO_CIVETWEB),echo "the demo needs civetweb.h (Debian: libcivetweb-dev)" >&2; exit 1,:)

.PHONY: demo-app
demo-app:
	$(CARGO) build $(CARGO_FLAGS) --release -p fcgate-kit --bin fcgate-app

##@ Testing

# One after the other, the quick ones first. A make of its own for what needs the packages:
# whether a header is there is asked when a makefile is read.
.PHONY: test
test: ## all that has to pass, with its set-up: packages, formatting, clippy, docs, tests
	@scripts/rust rustfmt clippy
	@scripts/packages test
	@$(MAKE) lint
	@$(MAKE) all
	$(CARGO) build $(CARGO_FLAGS) --workspace
	$(CARGO) test $(CARGO_FLAGS) --workspace --no-fail-fast
	@$(MAKE) sanitize-short test-c test-scripts

.PHONY: lint
lint: ## formatting, clippy and docs, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps

.PHONY: test-c
test-c: $(C_TESTS) $(if $(C_TESTS),demo-app) ## the C test suite, under valgrind
	@$(if $(C_TESTS),TARGET_DIR='$(TARGET_DIR)' scripts/test-c $(C_TESTS),:)

$(C_TESTS): $(BUILD)/tests/%: tests/c/%.c $(wildcard tests/c/*.h) $(HEADER) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -std=c11 $(C_WARNINGS) $(CPPFLAGS) $(CFLAGS) -Iinclude -o $@ $< \
	    $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN/..' -lfcgate -lcmocka -lpthread

.PHONY: test-scripts
test-scripts: ## the scripts behind these commands, in a sandbox
	@scripts/test-scripts

.PHONY: soak
soak: ## php-fpm restarted under 100,000 requests for each MPM, mod_proxy_fcgi beside it
	@scripts/packages test
	@$(MAKE) library apache
	$(CARGO) test $(CARGO_FLAGS) --release --test apache_soak -- --ignored --nocapture

# The servers' modules with what finds wrong accesses and undefined behaviour; the library is as it is.
SANITIZED := $(BUILD)/sanitized
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
.PHONY: sanitized
sanitized:
	@ASAN_OPTIONS=detect_leaks=0 $(MAKE) BUILD='$(SANITIZED)' LDFLAGS='$(LDFLAGS) $(SANITIZE)' \
	    CFLAGS='-O1 -g -fno-omit-frame-pointer $(SANITIZE)' modules

.PHONY: sanitize
sanitize: ## the suites of Apache, lighttpd and nginx on modules built with address and undefined-behaviour sanitizers
	@scripts/packages test
	@$(MAKE) modules examples sanitized
	$(CARGO) build $(CARGO_FLAGS) --workspace
	FCGATE_SANITIZED='$(abspath $(SANITIZED))' $(CARGO) test $(CARGO_FLAGS) --no-fail-fast $(SANITIZE_TESTS)
	@$(MAKE) sanitize-short

# Clients that leave at a random moment, and those that stay, on all three servers.
.PHONY: sanitize-short
sanitize-short: sanitized
	FCGATE_SANITIZED='$(abspath $(SANITIZED))' $(CARGO) test $(CARGO_FLAGS) --test load -- leavers:: events:: uploads::

# The tests that start servers with our modules, but for those of memory, of which sanitizers need more.
SANITIZE_TESTS ?= $(patsubst tests/%.rs,--test %,$(filter-out tests/apache_soak.rs tests/apache_load.rs tests/apache_slow.rs,\
    $(wildcard tests/apache*.rs tests/lighttpd*.rs tests/nginx*.rs))) --test servers

# One after the other: they measure.
.PHONY: proofs
proofs: ## what holds under load, at its full size, on Apache, lighttpd and nginx: a quarter of an hour; [PROOF=slow::]
	@scripts/rust
	@scripts/packages test
	@$(MAKE) modules
	$(CARGO) test $(CARGO_FLAGS) --test load --test multiplex_apps -- --ignored --nocapture --test-threads=1 $(PROOF)

.PHONY: abi
abi: library ## the binary interface against that of the last release
	$(CARGO) test $(CARGO_FLAGS) --test abi

.PHONY: bench
bench: ## fcgate beside its peers: [MARKS="P1 P5"] [ROUNDS=5] [TIME=2]
	@scripts/rust
	@scripts/packages bench
	@$(MAKE) modules
	$(CARGO) build $(CARGO_FLAGS) --release -p fcgate-bench
	@$(TARGET_DIR)/release/fcgate-bench $(MARKS)

.PHONY: fuzz
fuzz: ## every fuzz target (or TARGET=) for TIME=60 seconds each; needs nightly Rust
	@scripts/nightly fuzz '$(TIME)' $(TARGET)

.PHONY: miri
miri: ## the layers without system calls under Miri; needs nightly Rust
	@scripts/nightly miri $(MIRI_TESTS)

##@ Installing

# Depends on files, not on cargo: after `make`, `sudo make install` compiles nothing and needs no Rust.
.PHONY: install
install: $(LIBRARY) $(HEADER) ## the library and the servers' modules: [PREFIX=/usr/local] [LIBDIR=] [DESTDIR=] [APACHE_LIBEXECDIR=] [LIGHTTPD_LIBEXECDIR=]
	install -d '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(PKGCONFIGDIR)'
	install -m 755 $(LIBRARY) '$(DESTDIR)$(LIBDIR)/$(REAL)'
	ln -sf $(REAL) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libfcgate.so'
	install -m 644 $(BUILD)/libfcgate.a '$(DESTDIR)$(LIBDIR)/libfcgate.a'
	install -m 644 $(HEADER) '$(DESTDIR)$(INCLUDEDIR)/fcgate.h'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' -e "s|@LIBS_PRIVATE@|$$(cat $(BUILD)/native-static-libs)|" \
	    packaging/fcgate.pc.in >'$(DESTDIR)$(PKGCONFIGDIR)/fcgate.pc'
	chmod 644 '$(DESTDIR)$(PKGCONFIGDIR)/fcgate.pc'
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" -eq 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi
	@$(MAKE) install-apache install-lighttpd install-nginx

# The module, if it was built; and for Debian's a2enmod its two files. A fcgate.conf that somebody
# has changed stays as it is. Who may install the library only (into a PREFIX of his own) does that.
.PHONY: install-apache
install-apache:
	@modules='$(DESTDIR)$(APACHE_LIBEXECDIR)'; conf='$(DESTDIR)$(APACHE_CONF)'; \
	if [ -z '$(APACHE_LIBEXECDIR)' ] || [ ! -e $(BUILD)/mod_fcgate.so ]; then exit 0; fi; \
	if [ -z '$(DESTDIR)' ] && [ -d "$$modules" ] && [ ! -w "$$modules" ]; then \
	    echo "mod_fcgate is left out: $$modules can't be written to"; exit 0; \
	fi; \
	set -x; \
	install -d "$$modules"; \
	install -m 755 $(BUILD)/mod_fcgate.so "$$modules/mod_fcgate.so"; \
	{ set +x; } 2>/dev/null; \
	if [ -z '$(APACHE_CONF)' ]; then \
	    echo "To have it loaded, write into Apache's configuration:"; \
	    sed -e '/^#/d' $(APACHE_LOAD_PATHS) modules/apache/fcgate.load; \
	    exit 0; \
	fi; \
	install -d "$$conf"; \
	sed $(APACHE_LOAD_PATHS) modules/apache/fcgate.load >"$$conf/fcgate.load"; \
	chmod 644 "$$conf/fcgate.load"; \
	rm -f "$$conf/fcgate.conf.new"; \
	if [ -e "$$conf/fcgate.conf" ] && ! cmp -s modules/apache/fcgate.conf "$$conf/fcgate.conf"; then \
	    install -m 644 modules/apache/fcgate.conf "$$conf/fcgate.conf.new"; \
	    echo "$$conf/fcgate.conf was changed and stays; the one of this version is fcgate.conf.new beside it"; \
	else \
	    install -m 644 modules/apache/fcgate.conf "$$conf/fcgate.conf"; \
	fi; \
	echo "To have the module loaded: a2enmod fcgate"

# The same for lighttpd, whose module finds the library in the LIBDIR that it was built for.
.PHONY: install-lighttpd
install-lighttpd:
	@modules='$(DESTDIR)$(LIGHTTPD_LIBEXECDIR)'; conf='$(DESTDIR)$(LIGHTTPD_CONF)'; file=15-fcgate.conf; \
	if [ -z '$(LIGHTTPD_LIBEXECDIR)' ] || [ ! -e $(BUILD)/lighttpd/mod_fcgate.so ]; then exit 0; fi; \
	if [ -z '$(DESTDIR)' ] && [ -d "$$modules" ] && [ ! -w "$$modules" ]; then \
	    echo "lighttpd's mod_fcgate is left out: $$modules can't be written to"; exit 0; \
	fi; \
	set -x; \
	install -d "$$modules"; \
	install -m 755 $(BUILD)/lighttpd/mod_fcgate.so "$$modules/mod_fcgate.so"; \
	{ set +x; } 2>/dev/null; \
	if [ -z '$(LIGHTTPD_CONF)' ]; then \
	    echo 'To have it loaded, write into lighttpd.conf: server.modules += ( "mod_fcgate" )'; \
	    exit 0; \
	fi; \
	install -d "$$conf"; \
	rm -f "$$conf/$$file.new"; \
	if [ -e "$$conf/$$file" ] && ! cmp -s modules/lighttpd/$$file "$$conf/$$file"; then \
	    install -m 644 modules/lighttpd/$$file "$$conf/$$file.new"; \
	    echo "$$conf/$$file was changed and stays; the one of this version is $$file.new beside it"; \
	else \
	    install -m 644 modules/lighttpd/$$file "$$conf/$$file"; \
	fi; \
	echo "To have the module loaded: lighty-enable-mod fcgate"

# nginx's own directories, as it was built; for Debian the file by which it is loaded, too.
NGINX ?= $(firstword $(shell command -v nginx) $(wildcard /usr/sbin/nginx /usr/local/sbin/nginx))
nginx_word = $(if $(NGINX),$(shell $(NGINX) -V 2>&1 | tr ' ' '\n' | sed -n 's/^--$(1)=//p'))
NGINX_MODULESDIR ?= $(call nginx_word,modules-path)
NGINX_CONFDIR ?= $(patsubst %/,%,$(dir $(call nginx_word,conf-path)))
NGINX_AVAILABLE ?= $(if $(wildcard $(NGINX_CONFDIR)/modules-enabled),/usr/share/nginx/modules-available)

.PHONY: install-nginx
install-nginx:
	@modules='$(DESTDIR)$(NGINX_MODULESDIR)'; conf='$(DESTDIR)$(NGINX_CONFDIR)/conf.d'; \
	available='$(DESTDIR)$(NGINX_AVAILABLE)'; \
	if [ -z '$(NGINX_MODULESDIR)' ] || [ ! -e $(BUILD)/ngx_http_fcgate_module.so ]; then exit 0; fi; \
	if [ -z '$(DESTDIR)' ] && [ -d "$$modules" ] && [ ! -w "$$modules" ]; then \
	    echo "ngx_http_fcgate_module is left out: $$modules can't be written to"; exit 0; \
	fi; \
	set -x; \
	install -d "$$modules"; \
	install -m 755 $(BUILD)/ngx_http_fcgate_module.so "$$modules/ngx_http_fcgate_module.so"; \
	{ set +x; } 2>/dev/null; \
	if [ -z '$(NGINX_AVAILABLE)' ] || [ -z '$(NGINX_CONFDIR)' ]; then \
	    echo "To have it loaded, write at the top of nginx.conf:"; \
	    sed -e 's|@NGINX_MODULESDIR@|$(NGINX_MODULESDIR)|' modules/nginx/mod-http-fcgate.conf; \
	    exit 0; \
	fi; \
	install -d "$$conf" "$$available"; \
	sed -e 's|@NGINX_MODULESDIR@|$(NGINX_MODULESDIR)|' modules/nginx/mod-http-fcgate.conf >"$$available/mod-http-fcgate.conf"; \
	chmod 644 "$$available/mod-http-fcgate.conf"; \
	rm -f "$$conf/fcgate.conf.new"; \
	if [ -e "$$conf/fcgate.conf" ] && ! cmp -s modules/nginx/fcgate.conf "$$conf/fcgate.conf"; then \
	    install -m 644 modules/nginx/fcgate.conf "$$conf/fcgate.conf.new"; \
	    echo "$$conf/fcgate.conf was changed and stays; the one of this version is fcgate.conf.new beside it"; \
	else \
	    install -m 644 modules/nginx/fcgate.conf "$$conf/fcgate.conf"; \
	fi; \
	echo "To have nginx load the module: ln -s $(NGINX_AVAILABLE)/mod-http-fcgate.conf $(NGINX_CONFDIR)/modules-enabled/50-mod-http-fcgate.conf"

.PHONY: uninstall
uninstall: ## remove what install put there, with the same variables
	@$(MAKE) uninstall-apache uninstall-lighttpd uninstall-nginx
	rm -f '$(DESTDIR)$(LIBDIR)/$(REAL)' '$(DESTDIR)$(LIBDIR)/$(SONAME)' '$(DESTDIR)$(LIBDIR)/libfcgate.so' \
	    '$(DESTDIR)$(LIBDIR)/libfcgate.a' '$(DESTDIR)$(INCLUDEDIR)/fcgate.h' '$(DESTDIR)$(PKGCONFIGDIR)/fcgate.pc'
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" -eq 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi

# What a2enmod made goes too: Apache does not start with a link that leads nowhere.
.PHONY: uninstall-apache
uninstall-apache:
	@modules='$(DESTDIR)$(APACHE_LIBEXECDIR)'; conf='$(DESTDIR)$(APACHE_CONF)'; \
	if [ -n '$(APACHE_LIBEXECDIR)' ] && [ -e "$$modules/mod_fcgate.so" ]; then \
	    (set -x; rm -f "$$modules/mod_fcgate.so"); \
	fi; \
	if [ -n '$(APACHE_CONF)' ] && [ -e "$$conf/fcgate.load" ]; then \
	    enabled='$(DESTDIR)$(APACHE_CONFDIR)/mods-enabled'; \
	    (set -x; rm -f "$$enabled/fcgate.load" "$$enabled/fcgate.conf" "$$conf/fcgate.load" "$$conf/fcgate.conf.new"); \
	fi; \
	if [ -n '$(APACHE_CONF)' ] && [ -e "$$conf/fcgate.conf" ]; then \
	    if cmp -s modules/apache/fcgate.conf "$$conf/fcgate.conf"; then \
	        (set -x; rm -f "$$conf/fcgate.conf"); \
	    else \
	        echo "$$conf/fcgate.conf was changed and stays"; \
	    fi; \
	fi

# The link of lighty-enable-mod goes too, as with Apache.
.PHONY: uninstall-lighttpd
uninstall-lighttpd:
	@modules='$(DESTDIR)$(LIGHTTPD_LIBEXECDIR)'; conf='$(DESTDIR)$(LIGHTTPD_CONF)'; file=15-fcgate.conf; \
	if [ -n '$(LIGHTTPD_LIBEXECDIR)' ] && [ -e "$$modules/mod_fcgate.so" ]; then \
	    (set -x; rm -f "$$modules/mod_fcgate.so"); \
	    if [ -n '$(LIGHTTPD_CONF)' ]; then \
	        (set -x; rm -f "$(DESTDIR)$(LIGHTTPD_CONFDIR)/conf-enabled/$$file" "$$conf/$$file.new"); \
	    fi; \
	fi; \
	if [ -n '$(LIGHTTPD_CONF)' ] && [ -e "$$conf/$$file" ]; then \
	    if cmp -s modules/lighttpd/$$file "$$conf/$$file"; then \
	        (set -x; rm -f "$$conf/$$file"); \
	    else \
	        echo "$$conf/$$file was changed and stays"; \
	    fi; \
	fi

# The link by which it is loaded goes too: nginx does not start with one that leads nowhere.
.PHONY: uninstall-nginx
uninstall-nginx:
	@modules='$(DESTDIR)$(NGINX_MODULESDIR)'; conf='$(DESTDIR)$(NGINX_CONFDIR)'; \
	if [ -n '$(NGINX_MODULESDIR)' ] && [ -e "$$modules/ngx_http_fcgate_module.so" ]; then \
	    (set -x; rm -f "$$modules/ngx_http_fcgate_module.so"); \
	fi; \
	if [ -n '$(NGINX_AVAILABLE)' ] && [ -n '$(NGINX_CONFDIR)' ]; then \
	    rm -f '$(DESTDIR)$(NGINX_AVAILABLE)/mod-http-fcgate.conf' "$$conf/modules-enabled/50-mod-http-fcgate.conf" \
	        "$$conf/conf.d/fcgate.conf.new"; \
	    if [ -e "$$conf/conf.d/fcgate.conf" ]; then \
	        if cmp -s modules/nginx/fcgate.conf "$$conf/conf.d/fcgate.conf"; then \
	            (set -x; rm -f "$$conf/conf.d/fcgate.conf"); \
	        else \
	            echo "$$conf/conf.d/fcgate.conf was changed and stays"; \
	        fi; \
	    fi; \
	fi

##@ Other

.PHONY: clean
clean: ## remove all that was built
	rm -rf $(BUILD)
	$(CARGO) clean

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

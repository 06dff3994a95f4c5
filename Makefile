# make                 all executables, in build/bin
# make test-unit       unit tests            make sanitize    the same tree under ASan and UBSan, in build/asan
# make fuzz            libFuzzer programs, in build/fuzz      make bench       what a call costs, against peers (see below)
# make tidy            clang-tidy            make format-check
# make install PREFIX=/usr/local DESTDIR=
# Variables: CC, CFLAGS, LDFLAGS; WERROR=1 (or CI=1) makes warnings errors; V=1 shows the commands.
# What is not in Debian (the WASM engine, the HTTP parser) is fetched and built by scripts/setup.sh, never from here.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MODE ?=
BUILD ?= build$(MODE:%=/%)
PREFIX ?= /usr/local
CFLAGS ?= -O2 -g

# Who links whom, and who may include whom (tests/check_includes.py reads these lines): a module's line is complete.
uses_base :=
uses_wire := base
uses_http := base
uses_keys := base
uses_egress := base
uses_storage := egress wire base
uses_balancer := wire base
uses_sandbox := egress wire base
uses_dispatch := sandbox balancer storage egress wire base
uses_builder := sandbox storage egress wire base
uses_gateway := dispatch sandbox balancer storage egress keys http wire base
uses_worker := sandbox egress wire base
uses_server := sandbox balancer egress keys wire base

# Top down: what stands left may need what stands right of it.
MODULES := gateway server worker builder dispatch sandbox balancer storage egress keys http wire base

# The module at the top of each program; its main() is src/cmd/<program>.c, helped by src/cmd/<program>_*.c.
top_minifaas := server
top_load_balancer := balancer
top_server := server
top_api_gateway := gateway
top_worker := worker
top_builder := builder
top_native_compiler := worker
top_egress := egress
top_load_injector := http
PARTS := load_balancer server api_gateway worker builder native_compiler egress
PROGRAMS := $(foreach p,minifaas $(PARTS) load_injector,$(if $(wildcard src/cmd/$p.c),$p))

libs_keys := -lsodium
libs_storage := -ljansson -lsodium
libs_builder := -ljansson -lsodium
libs_gateway := -ljansson -lsodium
libs_worker := -lsodium

paths := $(shell root=. && . scripts/paths.sh && echo "$$engine_dir $$llhttp_dir $$engine_version-$$engine_key $$venv_dir")
ENGINE := $(word 1,$(paths))
LLHTTP := $(word 2,$(paths))
ENGINE_KEY := $(word 3,$(paths))
VENV := $(word 4,$(paths))

# `sudo make install` installs what the user built: root has no engine in its own cache.
install_needs := $(if $(and $(SUDO_USER),$(wildcard $(BUILD)/bin/minifaas)),,all)
builds := $(filter-out clean tidy format-check $(if $(install_needs),,install),$(or $(MAKECMDGOALS),all))
ifneq ($(builds),)
ifeq ($(and $(wildcard $(ENGINE)/worker/libfaas_engine.a),$(wildcard $(ENGINE)/compiler/libfaas_engine.a),$(wildcard $(LLHTTP)/llhttp.h)),)
$(error The WASM engine or the HTTP parser is not set up for this user yet. Run ./scripts/setup.sh once (it says what it does and how long that takes), then make again)
endif
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion
STANDARD := -std=gnu17 -D_GNU_SOURCE -Isrc -isystem $(LLHTTP)
ifeq ($(MODE),asan)
MODE_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifeq ($(MODE),fuzz)
CC := clang
MODE_FLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
MODE_FLAGS := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif
COMPILE = $(CC) $(STANDARD) $(WARNINGS) $(if $(filter 1,$(WERROR) $(CI)),-Werror) $(MODE_FLAGS) \
    -fPIE -pthread -ffunction-sections -fdata-sections $(CFLAGS)
LINK = $(CC) $(MODE_FLAGS) $(CFLAGS) -pie -pthread -Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro,-z,now $(LDFLAGS)

BIN := $(BUILD)/bin
OBJ := $(BUILD)/obj
LIB := $(BUILD)/lib
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1))

# Other flags or another compiler build everything again: what they are is kept in a file that everything depends on.
flags := $(CC) $(STANDARD) $(MODE_FLAGS) $(CFLAGS) $(LDFLAGS) $(ENGINE)
ifneq ($(builds),)
$(shell mkdir -p $(BUILD) && { echo '$(flags)' | cmp -s - $(BUILD)/flags || echo '$(flags)' >$(BUILD)/flags; })
endif

object = $(patsubst %.c,$(OBJ)/%.o,$(1))
# Archives of the modules $(1) and of all they use, in link order; then their libraries in the same way.
closure = $(foreach m,$(MODULES),$(if $(filter $m,$(1) $(foreach t,$(1),$(uses_$t))),$m))
archives = $(patsubst %,$(LIB)/%.a,$(call closure,$(1))) $(if $(filter http,$(call closure,$(1))),$(LIB)/llhttp.a)
libraries = $(sort $(foreach m,$(call closure,$(1)),$(libs_$m))) -ldl -lm

all: $(PROGRAMS:%=$(BIN)/%) runtimes

# --- objects and archives -------------------------------------------------------------------------------------------
$(OBJ)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(COMPILE) $(extra_flags) -MMD -MP -c -o $@ $<

# The files that know the engine's headers: one is compiled for each of the two builds of the engine.
ENGINE_C := $(patsubst %,src/worker/wasm_%.c,engine run compile)
engine_flags = -isystem $(ENGINE)/$(1)/include -DFAAS_ENGINE_KEY='"$(ENGINE_KEY)"'
$(OBJ)/src/worker/wasm_engine.o $(OBJ)/src/worker/wasm_run.o: extra_flags = $(call engine_flags,worker)
$(OBJ)/src/worker/wasm_engine_compiler.o $(OBJ)/src/worker/wasm_compile.o: extra_flags = $(call engine_flags,compiler)
$(OBJ)/src/worker/wasm_engine_compiler.o: src/worker/wasm_engine.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC "$< (compiler)")
	$(Q)$(COMPILE) $(extra_flags) -MMD -MP -c -o $@ $<

define module_rules
objects_$(1) := $(call object,$(filter-out $(ENGINE_C),$(wildcard src/$(1)/*.c)))
$(LIB)/$(1).a: $$(objects_$(1)) $(wildcard src/$(1))
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$m)))

LLHTTP_OBJECTS := $(patsubst %,$(OBJ)/llhttp/%.o,api http llhttp)
$(LLHTTP_OBJECTS): $(OBJ)/llhttp/%.o: $(LLHTTP)/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC llhttp/$*.c)
	$(Q)$(COMPILE) -w -c -o $@ $<
$(LIB)/llhttp.a: $(LLHTTP_OBJECTS)

$(LIB)/%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

# --- programs -------------------------------------------------------------------------------------------------------
engine_worker := $(patsubst %,$(OBJ)/src/worker/wasm_%.o,engine run) $(ENGINE)/worker/libfaas_engine.a
engine_native_compiler := $(patsubst %,$(OBJ)/src/worker/wasm_%.o,engine_compiler compile) $(ENGINE)/compiler/libfaas_engine.a

# Archives stand behind the objects; worker.a before the engine that it may call into.
define program_rules
$(BIN)/$(1): $(call object,$(wildcard src/cmd/$(1).c src/cmd/$(1)_*.c)) $(filter %.o,$(engine_$(1))) \
    $(call archives,$(top_$(1))) $(filter %.a,$(engine_$(1)))
	@mkdir -p $$(@D)
	$$(call say,LINK $$@)
	$$(Q)$$(LINK) -o $$@ $$^ $(call libraries,$(top_$(1)))
endef
# native_compiler runs under the memory limits of a deploy, which a sanitizer's address space exceeds.
unsanitized := $(if $(filter asan,$(MODE)),$(filter native_compiler,$(PROGRAMS)))
$(foreach p,$(filter-out $(unsanitized),$(PROGRAMS)),$(eval $(call program_rules,$p)))
$(unsanitized:%=$(BIN)/%): $(BIN)/%: FORCE
	@$(MAKE) MODE= BUILD=build build/bin/$*
	@mkdir -p $(@D)
	$(Q)cmp -s build/bin/$* $@ || cp build/bin/$* $@

RUNTIME_FILES := $(patsubst ./%,%,$(shell find runtimes -type f ! -path '*/__pycache__/*' 2>/dev/null))
runtimes: $(RUNTIME_FILES:%=$(BIN)/%) $(BIN)/runtimes/python/__pycache__
$(BIN)/runtimes/%: runtimes/%
	$(Q)install -D -m 644 $< $@

# Python processes cannot write their bytecode where they run, and would compile it at each start. Unchecked: nothing
# else changes the sources there. A machine without python3 has no Python functions either.
compile_python = if [ -x /usr/bin/python3 ]; then \
    /usr/bin/python3 -I -m compileall -q -f --invalidation-mode unchecked-hash $(1); fi
$(BIN)/runtimes/python/__pycache__: $(filter $(BIN)/runtimes/python/%,$(RUNTIME_FILES:%=$(BIN)/%))
	$(Q)$(call compile_python,$(@D)) && mkdir -p $@ && touch $@

# --- tests ----------------------------------------------------------------------------------------------------------
# A test, a fuzz target or a part of the benchmark is one C file; the linker takes from the modules what it needs. Those
# that reach into worker/ get the engine as well. Tests in Python drive the programs and the runtimes.
TEST_C := $(wildcard tests/unit/test_*.c)
FUZZ_C := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_C := $(wildcard tests/bench/*.c)
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(TEST_C))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(FUZZ_C))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_C))
PYTEST ?= $(if $(wildcard $(VENV)/bin/pytest),$(VENV)/bin/pytest -n 2 --dist loadgroup,pytest) -q -p no:cacheprovider
# The runtimes are the same in every mode.
TEST_PY := $(if $(MODE),,$(wildcard tests/unit/test_*.py))

need_engine := $(if $(builds),$(shell grep -lE '^.include "worker/' $(TEST_C) $(FUZZ_C) $(BENCH_C) /dev/null))
engine_of = $(if $(filter $(1),$(need_engine)),$(engine_worker))

# $(1) source, $(2) program, $(3) flags of its own
define test_rules
$(2): $(call object,$(1)) $(filter %.o,$(call engine_of,$(1))) $(call archives,$(MODULES)) \
    $(filter %.a,$(call engine_of,$(1)))
	@mkdir -p $$(@D)
	$$(call say,LINK $$@)
	$$(Q)$$(LINK) -o $$@ $$^ $(3) $(call libraries,$(MODULES))
endef
$(foreach c,$(TEST_C),$(eval $(call test_rules,$c,$(patsubst tests/unit/%.c,$(BUILD)/tests/%,$c),-lcmocka)))
$(foreach c,$(FUZZ_C),$(eval $(call test_rules,$c,$(patsubst tests/fuzz/%.c,$(BUILD)/%,$c),-fsanitize=fuzzer)))
$(foreach c,$(BENCH_C),$(eval $(call test_rules,$c,$(patsubst tests/bench/%.c,$(BUILD)/bench/%,$c),)))

tests: $(TESTS)
test-unit: all $(TESTS)
	@failed=; \
	for test in $(TESTS); do timeout 300 $$test || failed="$$failed $${test##*/}"; done; \
	$(if $(TEST_PY),PYTHONDONTWRITEBYTECODE=1 $(PYTEST) $(TEST_PY) || failed="$$failed pytest";) \
	if [ -n "$$failed" ]; then echo "unit tests failed:$$failed" >&2; exit 1; fi

sanitize:
	@$(MAKE) MODE=asan all tests

fuzzers: $(FUZZERS)
fuzz:
	@$(MAKE) MODE=fuzz fuzzers

# make bench CASES=hello,echo   only these (all of them: make bench OPTIONS=--list)
# make bench QUICK=1            one second each, once
benches: $(BENCHES)
bench: all benches
	@python3 tests/bench/bench.py --build $(BUILD) $(if $(CASES),--cases $(CASES)) $(if $(QUICK),--quick) $(OPTIONS)

SOURCES = $(wildcard src/*/*.c tests/*/*.c)
tidy:
	@clang-tidy --quiet $(SOURCES) -- $(STANDARD) -isystem $(ENGINE)/worker/include -DFAAS_ENGINE_KEY='"$(ENGINE_KEY)"'
format-check:
	@clang-format --dry-run -Werror $(SOURCES) $(wildcard src/*/*.h tests/*/*.h)

# --- the rest -------------------------------------------------------------------------------------------------------
# bin/minifaas is a link into libexec: a part finds the others, and the runtimes, beside its own executable.
libexec := $(DESTDIR)$(PREFIX)/libexec/minifaas
install: $(install_needs)
	install -d $(DESTDIR)$(PREFIX)/bin $(libexec)
	install -m 755 $(BIN)/minifaas $(PARTS:%=$(BIN)/%) $(libexec)
	ln -sf ../libexec/minifaas/minifaas $(DESTDIR)$(PREFIX)/bin/minifaas
	install -m 755 $(BIN)/load_injector $(DESTDIR)$(PREFIX)/bin/minifaas-load
	for file in $(RUNTIME_FILES); do install -D -m 644 $$file $(libexec)/$$file || exit; done
	$(call compile_python,$(libexec)/runtimes/python)
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(wildcard docs/man/*.1) $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf $(BUILD)

.PHONY: FORCE all runtimes tests test-unit sanitize fuzzers fuzz benches bench tidy format-check install clean
.SECONDARY:
-include $(if $(builds),$(shell find $(OBJ) -name '*.d' 2>/dev/null))

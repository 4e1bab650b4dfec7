# `make help` lists the commands. The first command that runs sets everything up in .venv, inside this folder: it
# needs Python 3.10 to 3.12 with its headers, g++, make and a package registry that pip can reach, but not root.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GPU       ?= 0
NP        ?= 2
CONFIG    ?= configs/deepfm_adult.config
MODEL_DIR ?= runs/$(basename $(notdir $(CONFIG)))-$(shell date +%Y%m%d-%H%M%S)
ARGS      ?=
KILLS     ?= 1000
STOPS     ?= 20
export GPU PYTHON
# Horovod, csrc and the checks without tests are compiled and run in parallel; none of them keeps two cores busy.
MAKEFLAGS += -j2
# Tests start hundreds of processes; without stored bytecode each of them would compile hvdrec's modules.
unexport PYTHONDONTWRITEBYTECODE
# Hides TensorFlow's start-up messages; its warnings and errors are still shown.
export TF_CPP_MIN_LOG_LEVEL ?= 1

VENV   := $(if $(filter 1,$(GPU)),.venv-gpu,.venv)
PY     := $(VENV)/bin/python
STAMPS := $(VENV)/stamps
SETUP  := build_support/environment.sh $(VENV)

PROTOS := $(wildcard hvdrec/config/protos/*.proto)
PB2    := $(PROTOS:.proto=_pb2.py)
CSRC   := $(shell find csrc -name '*.cc' -o -name '*.h' -o -name '*.cu')

# Build outputs can be lost without their stamp (or moved, so that their paths are wrong): build them again.
MOVED       := $(if $(filter $(CURDIR),$(shell cat $(STAMPS)/python 2>/dev/null)),,FORCE)
LOST_PROTOS := $(if $(filter-out $(wildcard $(PB2)),$(PB2)),FORCE)
LOST_NATIVE := $(if $(and $(wildcard hvdrec/_native*.so),$(wildcard hvdrec/_ops.so),$(wildcard hvdrec/_kernels.*.so)),,FORCE)

.PHONY: help train check test test-multinode soak sanitize twins aarch64 gpu_check lint docs build bench bench-losses doctor clean distclean FORCE
FORCE:

help: ## Show this list
	@sed -n 's/^\([a-z0-9_-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo
	@echo '  Settings: NP=2 (ranks)  CONFIG=configs/deepfm_adult.config  MODEL_DIR=runs/...'
	@echo '            ARGS="more flags of hvdrec.train"  PYTHON=python3.11  GPU=1 (CUDA and NCCL, in .venv-gpu)'

train: build ## Set up what is missing, then train CONFIG on NP ranks of this machine
	$(PY) -m hvdrec.launch local -np $(NP) -- \
	  --pipeline_config_path $(CONFIG) --model_dir $(MODEL_DIR) $(ARGS)

# Single functions, layers and checks; whole jobs, ranks, servers and sanitizers are only in `test`.
CHECKED := $(addprefix tests/,config layers losses metrics optim trainer/step)
check: build lint ## Run lint, types, import contracts and the tests of single functions (minutes)
	$(PY) -m pytest $(CHECKED) -m "not multirank" $(ARGS)

# Tests that often wait (for ranks, servers, compilers, programs that they start) run in parallel with the others, and
# are shown after them.
RANKS := $(addprefix tests/,multirank trainer/servers ops/test_cuda.py ops/test_sanitize.py)
APART := $(addprefix tests/,parallel commands launcher checkpoint storage serving deploy multinode library test_tutorial.py \
  golden/test_traces.py)
test: build lint ## Set up what is missing, then run lint, types, import contracts and all tests
ifeq ($(ARGS),)
	@mkdir -p build; \
	$(PY) -m pytest $(RANKS) > build/tests-ranks.log 2>&1 & ranks=$$!; \
	$(PY) -m pytest $(APART) > build/tests-apart.log 2>&1 & apart=$$!; \
	$(PY) -m pytest $(addprefix --ignore=,$(RANKS) $(APART)); here=$$?; \
	wait $$ranks; ranks=$$?; wait $$apart; apart=$$?; \
	cat build/tests-ranks.log build/tests-apart.log; exit $$((here | ranks | apart))
else
	$(PY) -m pytest $(ARGS)
endif

test-multinode: build ## Run the tests on several hosts (network namespaces: as root, with sshd and ip)
	$(PY) -m pytest -m multinode -rs tests/multinode $(ARGS)

soak: build ## Kill 1,000 saves between two system calls, runs at any moment, stop each launcher (KILLS=1000 STOPS=20; an hour)
	$(PY) -m pytest tests/checkpoint/test_kills.py tests/commands/test_killed_run.py \
	  tests/multirank/test_terminal.py --kills $(KILLS) --stops $(STOPS) \
	  --timeout 0 -o faulthandler_timeout=0 $(ARGS)

# SANITIZE=thread detects races. The short forms are part of the tests (tests/ops).
SANITIZE ?= address,undefined
comma := ,
SANITIZED := build/sanitize/$(subst $(comma),-,$(SANITIZE))
SANITIZED_FLAGS := -std=c++17 -O1 -g1 -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -ffp-contract=off -Wno-psabi -Icsrc \
  -isystem $(firstword $(wildcard $(VENV)/lib/python3*/site-packages/tensorflow/include)) # Eigen comes with TensorFlow
sanitized = $(patsubst csrc/kernels/%.cc,$(SANITIZED)/%.o,$(wildcard $(addprefix csrc/kernels/,$(1))))
SANITIZED_PAIRS := $(call sanitized,base/*.cc pairwise/*.cc)
SANITIZED_LISTS := $(call sanitized,base/*.cc lists/*.cc)
SANITIZED_OPTIM := $(call sanitized,base/*.cc optim/*.cc)
SANITIZED_SIMILARITY := $(call sanitized,base/*.cc similarity/*.cc)
SANITIZED_LAYERS := $(call sanitized,base/parallel.cc base/scratch.cc layers/*.cc optim/sum_of_squares.cc)
sanitize: $(addprefix $(SANITIZED)/,pairwise_test similarity_test lists_test deferred_adam_test attention_test layers_test phases_test readers_test) ## Run the kernels of the losses, of Adam and of layers, and readers on damaged files, under AddressSanitizer and UndefinedBehaviorSanitizer
	$(SANITIZED)/pairwise_test $(ARGS)
	$(SANITIZED)/similarity_test $(ARGS)
	$(SANITIZED)/lists_test
	$(SANITIZED)/deferred_adam_test $(ARGS)
	$(SANITIZED)/attention_test
	$(SANITIZED)/layers_test
	$(SANITIZED)/phases_test
	$(SANITIZED)/readers_test

TWINS := $(SANITIZED)/pairwise_twin_test $(SANITIZED)/similarity_twins_test
twins: $(TWINS) ## Run the CUDA kernels of the losses on an emulated machine, under the same sanitizers
	@for twin in $(TWINS); do echo $$twin $(ARGS); $$twin $(ARGS) || exit 1; done

$(SANITIZED)/attention_test $(SANITIZED)/layers_test: $(SANITIZED)/%: csrc/tests/%.cc $(SANITIZED_LAYERS)
$(SANITIZED)/phases_test: csrc/tests/phases_test.cc $(call sanitized,base/parallel.cc)
$(SANITIZED)/deferred_adam_test: csrc/tests/deferred_adam_test.cc $(SANITIZED_OPTIM)
$(SANITIZED)/lists_test: csrc/tests/lists_test.cc $(SANITIZED_LISTS)
$(SANITIZED)/readers_test: csrc/tests/readers_test.cc $(call sanitized,rows/*.cc)
$(SANITIZED)/similarity_test: csrc/tests/similarity_test.cc $(SANITIZED_SIMILARITY)
$(SANITIZED)/pairwise_test $(TWINS): $(SANITIZED)/%: csrc/tests/%.cc $(SANITIZED_PAIRS)
$(SANITIZED)/%_test: csrc/tests/%_test.cc $(filter %.h,$(CSRC))
	$(or $(CXX),g++) $(SANITIZED_FLAGS) $(filter %.cc %.o,$^) -o $@ -lpthread

.SECONDARY: $(SANITIZED_PAIRS) $(SANITIZED_LISTS) $(SANITIZED_SIMILARITY) $(SANITIZED_OPTIM) $(SANITIZED_LAYERS)
$(SANITIZED)/%.o: csrc/kernels/%.cc $(filter csrc/kernels/%.h,$(CSRC))
	@mkdir -p $(@D)
	$(or $(CXX),g++) $(SANITIZED_FLAGS) -c $< -o $@

AARCH64 := build/aarch64
aarch64: $(STAMPS)/packages ## Compile all kernels for aarch64, and run their tests under qemu (packages g++-aarch64-linux-gnu, qemu-user-static)
	$(VENV)/bin/cmake -S . -B $(AARCH64) -DHVDREC_MODULES=OFF -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static \
	  -DHVDREC_EIGEN=$(abspath $(firstword $(wildcard $(VENV)/lib/python3*/site-packages/tensorflow/include)))
	$(VENV)/bin/cmake --build $(AARCH64) -j 2 --target kernel_tests
	for test in attention deferred_adam layers lists pairwise phases similarity; do \
	  qemu-aarch64-static $(AARCH64)/$${test}_test --short || exit 1; done
	qemu-aarch64-static $(AARCH64)/readers_test 1000

gpu_check: $(STAMPS)/packages ## Compile the CUDA kernels and build/gpu_check/gpu_check, which compares them with the CPU's
	$(VENV)/bin/cmake -S . -B build/gpu_check -DHVDREC_CUDA=ON -DHVDREC_MODULES=OFF \
	  -DHVDREC_EIGEN=$(abspath $(firstword $(wildcard $(VENV)/lib/python3*/site-packages/tensorflow/include)))
	$(VENV)/bin/cmake --build build/gpu_check --target gpu_check -j 2
	@ls -l build/gpu_check/gpu_check build/gpu_check/libgpu_kernels.a

lint: $(STAMPS)/packages $(STAMPS)/protos ## Check style, types and the order of the layers of packages
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo 2>/dev/null || $(VENV)/bin/lint-imports
	$(PY) build_support/config_tables.py --check
	$(PY) build_support/config_reference.py --check
	find csrc -name '*.cc' -o -name '*.h' -o -name '*.cu' | xargs -r $(VENV)/bin/clang-format --dry-run -Werror

docs: $(STAMPS)/packages $(STAMPS)/protos ## Write docs/config_*.md from the config's tables and protos, and the documentation site to build/site
	$(PY) build_support/config_tables.py
	$(PY) build_support/config_reference.py
	$(PY) -m mkdocs build --strict --quiet

build: $(STAMPS)/horovod $(STAMPS)/protos $(STAMPS)/native ## Set up .venv and compile what has changed

bench: build ## Run every program of bench; results go to runs/bench/*.json
	@mkdir -p runs/bench
	@for program in $$(grep -l __main__ bench/*.py); do \
	  echo "== $$program"; \
	  $(PY) $$program --out runs/bench/$$(basename $$program .py).json $(ARGS) || exit 1; \
	done

bench-losses: build ## Compare the losses with those of other libraries (docs/benchmarks.md)
	$(PY) -m pytest bench/losses $(ARGS)

doctor: ## Report what works here, and how to fix what doesn't
	@$(if $(wildcard $(PY)),$(PY),python3) -m hvdrec.doctor

clean: ## Remove generated and compiled files, except .venv and runs
	rm -rf build hvdrec/_native*.so hvdrec/_ops.so hvdrec/_kernels.*.so hvdrec/config/protos/*_pb2.py hvdrec/config/protos/*_pb2.pyi
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find hvdrec tests bench -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf .venv .venv-gpu

$(STAMPS)/python: $(MOVED)
	@$(SETUP) python
	@echo '$(CURDIR)' > $@

$(STAMPS)/packages: $(STAMPS)/python requirements.lock build_support/hvdrec_site.py
	@$(SETUP) packages
	@touch $@

$(STAMPS)/horovod: $(STAMPS)/packages
	@$(SETUP) horovod
	@touch $@

$(STAMPS)/protos: $(PROTOS) setup.py $(STAMPS)/packages $(LOST_PROTOS)
	@echo '[4/5] proto modules'
	@$(PY) setup.py -q build_protos
	@touch $@

$(STAMPS)/native: $(CSRC) CMakeLists.txt setup.py $(STAMPS)/packages $(LOST_NATIVE)
	@echo '[5/5] C++ libraries from csrc (three minutes on 2 cores)'
	@$(PY) setup.py -q build_ext --inplace
	@touch $@

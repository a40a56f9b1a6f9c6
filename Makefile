# `make help` lists the targets. Everything runs from .venv, which `setup` makes and renews when the pinned versions change.
BIN := .venv/bin
PY := $(BIN)/python
STAMP := .venv/.installed
SECONDS ?= 60
WORKERS ?= 3
BOARD ?= ESP32_GENERIC
STATIONS ?= 8
BOARDS ?= 16
KILLS ?= 40
MINUTES ?= 120
CLONES ?= 5
BUSY ?= 3
SOAK_LINE = UPEER_SOAK_STATIONS=$(STATIONS) UPEER_SOAK_BOARDS=$(BOARDS) UPEER_SOAK_KILLS=$(KILLS) \
	$(PY) -m pytest tests/factory/station/test_line_e2e.py -v -rP -k killed --timeout 3600
HIL := $(PY) -m pytest -p pytest_embedded.plugin -W ignore::pytest.PytestExperimentalApiWarning

.PHONY: help setup demo test heaps lint reference format size bench fuzz natlab hil soak clones clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: $(STAMP)  ## install the host tools and what the tests need into .venv

$(STAMP): pyproject.toml tests/lint/stubs.txt tests/support/mpy32/package-lock.json .ci/setup
	@PYTHON="$(PYTHON)" .ci/setup
	@touch $@

demo: setup  ## servers and three virtual boards, reached peer to peer; KEEP=1 leaves them running
	@$(PY) examples/demo.py $(if $(KEEP),--keep)

test: setup  ## lint, then every test: in parallel, then those that need the machine for themselves; all groups run
	@.ci/system-packages natlab
	@.ci/system-packages bench
	@.ci/system-packages factory
	@$(PY) tests/run_groups.py --workers $(WORKERS)

lint: setup  ## style, types (host and MicroPython), layers, sizes of modules and functions
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/mypy || status=1; \
	$(BIN)/mypy --config-file firmware/mypy.ini || status=1; \
	$(PY) tests/lint/check_style.py || status=1; \
	$(PY) tests/lint/compile_firmware.py || status=1; \
	exit $$status

reference: setup  ## write docs/reference.md, one line for each module, from the docstrings
	$(PY) tests/lint/reference.py

format: setup  ## let ruff lay out the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

size: setup  ## what every module takes, as .mpy and of the chip's heap, beside what is recorded; UPDATE=1 records
	$(PY) tests/size/size_table.py $(if $(UPDATE),--update) $(if $(METHODS),--methods)

bench: setup  ## the figures beside goals and peers, also in build/bench.json; ONLY=name,... picks some, UPDATE=1 writes docs/figures.md
	@.ci/system-packages bench
	@$(PY) tests/bench/run_all.py "$(ONLY)" $(if $(UPDATE),--update)

clones: setup  ## the gate's proof: make test from five clean clones, three of them beside four busy loops; CLONES=n BUSY=n
	@$(PY) tests/clones.py --clones $(CLONES) --busy $(BUSY)

heaps: setup  ## the smallest heap of every module of tests on MicroPython and of a whole device, over all layouts, beside the gates
	@$(PY) tests/core/run_mpy.py --smallest
	@$(PY) tests/device/device_mpy.py --smallest
	@$(PY) tests/bench/bench_heap.py --layouts --from 112 --to 184
	@$(PY) tests/factory/selftest_heap.py

fuzz: setup  ## fuzz every parser for SECONDS=60 in all; TARGET=name picks one
	$(PY) tests/fuzz/fuzz.py --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET))

natlab: setup  ## the NAT matrix in network namespaces (root)
	@.ci/system-packages natlab
	$(PY) -m pytest tests/natlab -v

hil: setup  ## the line's tests on a bench of real boards: PORTS=/dev/ttyUSB0,... MICROPYTHON=FILE [BOARD=ESP32_GENERIC]
	$(HIL) tests/hil -v --timeout 600 --ports "$(PORTS)" --micropython "$(MICROPYTHON)" --hil-board "$(BOARD)"

soak: setup  ## MINUTES=120 of a device's life in virtual time, then KILLS=40 of the line's stations; TARGET=device|line
	@.ci/system-packages factory
	@case "$(TARGET)" in device|line|"") ;; *) echo "soak: TARGET is device or line" >&2; exit 2;; esac
	$(if $(filter line,$(TARGET)),,$(PY) tests/soak/soak.py --minutes $(MINUTES))
	$(if $(filter device,$(TARGET)),,$(SOAK_LINE))

clean:  ## remove what the targets made, .venv too
	rm -rf .venv typings build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

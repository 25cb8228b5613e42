# Two commands are all that is needed: `make demo` and `make test`. Both install what they need, into this folder.
SHELL := bash
PYTHON ?= $(shell scripts/find_python.sh 3.11 3.13)
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
PYTEST := -m pytest -q

.DEFAULT_GOAL := help
.PHONY: help install demo blenders test test-unit test-inside test-launched test-environments gui test-gui panel-screenshots lint bench addon clean

help: ## shows this
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

install: .venv/.installed ## installs blendtorch with Blender's bpy module into .venv
.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || exit 1
	@echo "installing blendtorch, torch and bpy into .venv (2 GB on disk and more, a few minutes the first time)"
	"$(PYTHON)" -m venv .venv
	$(PIP) -c constraints.txt -e '.[blender,dev]'
	$(PIP) -c constraints.txt --no-deps rerun-sdk
	@touch $@

demo: install ## streams labelled images from two headless Blenders, writes demo/batch.png and demo/passes.png
	.venv/bin/blendtorch demo

blenders: install
	@scripts/blender_venv.sh 4.2 3.11
	@scripts/blender_venv.sh 5.2 3.13

# In this order two of them at a time (make -j2) take the shortest time.
test: test-launched test-unit test-inside test-environments ## installs and runs all tests that need no window

test-unit: install ## the tests without Blender
	.venv/bin/python $(PYTEST) tests/unit

# The same tests inside each Blender. A process is one Blender, and one that has drawn with EEVEE is to end within a minute, for then
# Blender begins to free shaders, and Mesa may crash (docs/blender-notes.md, the last chapter). A new file of tests that draws with EEVEE
# belongs to one of the two groups of that name.
INSIDE := tests/blender/inside/test_
ADDON := $(wildcard $(INSIDE)addon_*.py)
EEVEE_FRAMES := $(wildcard $(INSIDE)frame_renderer*.py)
EEVEE_SETUPS := $(wildcard $(INSIDE)label_holes.py $(INSIDE)offscreen.py $(INSIDE)setup_*.py)
OTHERS := $(filter-out $(ADDON) $(EEVEE_FRAMES) $(EEVEE_SETUPS),$(wildcard $(INSIDE)*.py))

test-inside: blenders
	@for python in .venv/bin/python .venv-blender-*/bin/python; do \
		for files in "$(OTHERS)" "$(ADDON)" "$(EEVEE_FRAMES)" "$(EEVEE_SETUPS)"; do \
			test -n "$$files" && echo "== $$python" && $$python $(PYTEST) $$files || exit 1; \
		done; \
	done

ENVIRONMENTS := test_env_*.py test_control_examples.py

test-launched: blenders
	.venv/bin/python $(PYTEST) tests/blender/launched $(ENVIRONMENTS:%=--ignore-glob '*/%')

test-environments: blenders
	.venv/bin/python $(PYTEST) $(ENVIRONMENTS:%=tests/blender/launched/%)

gui: # Debian's Blenders 5.2 and 4.3, side by side
	@tests/gui/provision.sh trixie .gui-trixie & trixie=$$!; \
	tests/gui/provision.sh sid .gui; sid=$$?; wait $$trixie && exit $$sid

test-gui: install gui ## tests in a real window; installs Debians with Blender into .gui* (as root, on Debian or Ubuntu)
	.venv/bin/python $(PYTEST) tests/gui

panel-screenshots: install gui ## makes the pictures of docs/panel.md anew, in the window, by the steps of the test
	BLENDTORCH_PANEL_IMAGES=docs/images .venv/bin/python $(PYTEST) tests/gui -k "5.2 and (zip or right_click or cart_pole)"

lint: install ## ruff and mypy, as pre-commit and CI run them
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: install ## the benchmarks; each prints a table of ratios measured in one run
	.venv/bin/python benchmarks/stream.py
	.venv/bin/python benchmarks/render.py
	.venv/bin/python benchmarks/labels.py
	.venv/bin/python benchmarks/record.py
	.venv/bin/python benchmarks/env.py
	@if [ -x .gui/blender-plain ]; then .venv/bin/python benchmarks/panel.py; \
	else echo "benchmarks/panel.py needs a Blender with a window: make gui"; fi

addon: install ## builds the add-on's zips into dist; downloads the wheels in them once, into .cache
	.venv/bin/python build_addon.py

clean: ## removes what make has made, installations included
	@for gui in .gui .gui-trixie; do if [ -e $$gui ]; then tests/gui/provision.sh --clean $$gui || exit 1; fi; done
	rm -rf .venv .venv-blender-* demo build dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

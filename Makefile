# Everything runs in a virtual environment beside this file; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo picture phone test test-converters test-others fast-test coverage lint types check lowest matrix docs parity results clean

demo: $(VENV)/.convert
	$(BIN)/maskconver-mobile demo --output out

# The README's picture.
picture: demo
	$(BIN)/python -c "from PIL import Image; Image.open('out/contact_sheet.png').save('docs/demo.jpg', quality=80)"

# The live view on a cabled phone. APK=PATH takes a ready app, otherwise it is built.
phone: $(VENV)/.adb $(if $(APK),,android)
	$(BIN)/maskconver-mobile demo --adb $(if $(APK),--app $(APK))

# All tests, in two halves side by side, and what the fast ones reach (see coverage).
test: $(VENV)/.dev
	rm -f .coverage .coverage.*
	$(MAKE) -j2 test-converters test-others
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-converters: TESTS := tests/converters
test-others: TESTS := tests/runtime tests/benchmarks $(wildcard tests/test_*.py)
test-converters test-others: $(VENV)/.dev
	COVERAGE_CORE=sysmon $(BIN)/coverage run --parallel-mode $(BIN)/pytest -m "not slow" $(TESTS)
	$(BIN)/pytest -m slow $(TESTS)

fast-test: $(VENV)/.dev
	$(BIN)/pytest -m "not slow"

# What the fast tests reach of the Python packages, the least reached files first. Before Python 3.12, which has
# sys.monitoring, watching them takes two thirds more of the processor.
coverage: $(VENV)/.dev
	COVERAGE_CORE=sysmon $(BIN)/coverage run $(BIN)/pytest -m "not slow"
	$(BIN)/coverage report

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy --strict -p maskconver_mobile
	$(BIN)/mypy --strict benchmarks/pages/*.py

check: lint types test

# Whether the lowest versions that pyproject.toml allows do.
lowest:
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(PYTHON) tests/lowest.py > $(VENV)-lowest/versions.txt
	$(VENV)-lowest/bin/pip install --quiet --constraint $(VENV)-lowest/versions.txt .
	$(VENV)-lowest/bin/python tests/lowest.py try

# Every Python that is here (PYTHONS="3.10 3.13": these), lowest and newest dependencies, without and with extras; takes long.
matrix:
	$(PYTHON) tests/matrix.py $(PYTHONS)

# The documentation as a site that needs no network.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "out/site/index.html"

parity: $(VENV)/.dev
	$(BIN)/python tests/parity.py

results: $(VENV)/.dev
	$(BIN)/python benchmarks/pages/results_page.py --output benchmarks/RESULTS.md

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

SOURCES := setup.py pyproject.toml README.md $(shell find maskconver_mobile converters benchmarks -name '*.py' -o -name '*.json' -o -name '*.tflite' -o -name '*.jpg')

$(VENV)/.convert: $(SOURCES) | $(VENV)/bin/python
	rm -rf build && $(BIN)/python -m pip install --quiet ".[convert]"
	touch $@

$(VENV)/.adb: $(SOURCES) | $(VENV)/bin/python
	rm -rf build && $(BIN)/python -m pip install --quiet ".[adb]"
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet ".[docs]"
	touch $@

$(VENV)/.dev: $(SOURCES) | $(VENV)/bin/python
	rm -rf build && $(BIN)/python -m pip install --quiet ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist out *.egg-info web_demo/dist web_demo/out web_demo/library/dist web_demo/node_modules

# The Android app, from Maven Central and Debian alone; ABIS="arm64-v8a armeabi-v7a" adds older phones.
ABIS ?= arm64-v8a
MVN ?= mvn
.PHONY: android android-test

android:
	android_demo/scripts/check_tools.sh
	cd android_demo && $(MVN) --quiet --batch-mode -Dmaven.test.skip=true package
	android_demo/scripts/package.sh $(ABIS)

android-test: $(VENV)/.dev
	android_demo/scripts/check_tools.sh cc
	$(BIN)/python android_demo/fixtures.py android_demo/target/fixtures
	cd android_demo && $(MVN) --quiet --batch-mode verify

# The page that segments in the browser; web_demo/dist is all of it.
.PHONY: web web-test

web: web_demo/node_modules/.installed web_demo/out/data/models.json
	cd web_demo && npm run --silent build

web-test: web
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { echo "chromium is missing: apt-get install chromium"; exit 1; }
	$(BIN)/python web_demo/tests/fixtures.py web_demo/out/fixtures
	$(BIN)/python web_demo/tests/answers.py web_demo/out/fixtures web_demo/out/data
	cd web_demo && npm run --silent style && npm run --silent types && npm run --silent unit
	cd web_demo && PYTHON=$(abspath $(BIN)/python) npm run --silent browser

web_demo/node_modules/.installed: web_demo/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20.19 or later"; exit 1; }
	cd web_demo && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

web_demo/out/data/models.json: $(VENV)/.dev web_demo/tools/data.py
	$(BIN)/python web_demo/tools/data.py web_demo/out/data

# What an arm64 processor would execute for one run of each of MODELS (apt-get install qemu-user gcc); no latency.
.PHONY: arm64
MODELS ?= maskconver_mobile/demo/maskconver_256_demo.tflite
arm64: $(VENV)/.dev
	tests/benchmarks/arm64_root.sh $(VENV)/arm64 $(BIN)/python
	$(BIN)/python benchmarks/arm64/instructions.py $(VENV)/arm64 $(MODELS)

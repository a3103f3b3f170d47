PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Every test and demo process computes on its own core; two processes with two threads each only wait for one another.
export OMP_NUM_THREADS ?= 1

.PHONY: install demo test test-slow test-flink test-spark test-gs test-release build sbom docs lint format bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[pipeline,trainer,dev]'
	touch $(STAMP)

PASSAGES := $(foreach file,train valid test,--$(file) runs/demo/passages/$(file).tsv) --text text --label author

demo: install
	rm -rf runs/demo/model runs/demo/classifier runs/demo/early-exit
	$(BIN)/siliang-pipeline prepare samples --output runs/demo/data --config docs/demo/pipeline.toml
	$(BIN)/siliang-pipeline inspect runs/demo/data --duplicates --source milton --limit 2 --text
	$(BIN)/siliang-pipeline inspect runs/demo/data --duplicates --kind near --limit 1 --text
	$(BIN)/siliang-pipeline inspect runs/demo/data --boilerplate --source python-tutorial-html --text
	$(BIN)/siliang-trainer train runs/demo/data --output runs/demo/model --config docs/demo/trainer.toml
	$(BIN)/siliang-trainer report runs/demo/model
	$(BIN)/siliang-trainer fill runs/demo/model "Call me [MASK]. Some years ago, having little money in my purse, I went to sea."
	$(BIN)/siliang-trainer fill runs/demo/model "Everyone has the [MASK] to life, liberty and security of person."
	$(BIN)/siliang-trainer fill runs/demo/model "the great whale swam through the [MASK]."
	$(BIN)/python docs/demo/passages.py runs/demo/passages
	$(BIN)/siliang-trainer finetune runs/demo/model $(PASSAGES) --config docs/demo/finetune.toml --output runs/demo/classifier
	$(BIN)/siliang-trainer compress early-exit runs/demo/classifier $(PASSAGES) --config docs/demo/early_exit.toml --output runs/demo/early-exit
	echo "What ceremony else? must there no more be done" | $(BIN)/siliang-trainer predict runs/demo/early-exit - --json
	@echo "reports: runs/demo/data/report/index.html runs/demo/model/report.html"

test: install
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-slow: install
	$(BIN)/python -m pytest -m slow -n 2 --dist loadgroup

# JAR: file of Beam's job server, such as beam-runners-flink-1.20-job-server-2.77.0.jar.
test-flink: install
	SILIANG_FLINK_JAR=$(JAR) $(BIN)/python -m pytest -m cluster -k flink -rs

# Google's storage: an emulator and the driver, which nothing else here needs.
test-gs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check gcsfs gcp-storage-emulator
	$(BIN)/python -m pytest -m slow tests/end_to_end/test_gs.py -rs

test-spark: install
	SILIANG_SPARK_JAR=$(JAR) $(BIN)/python -m pytest -m cluster -k spark -rs

# Wheel and source distribution; then the wheel, and what the images do, in clean environments.
build: install
	$(BIN)/python -m build --outdir dist

test-release: install
	$(BIN)/python -m pytest -m slow tests/release tests/docker

sbom: install
	mkdir -p dist
	$(BIN)/python .ci/sbom.py > dist/siliang.cdx.json

# The site of docs/ in build/site; the pages of docs/reference are written from the code first.
docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python .ci/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python benchmarks/cleaning.py --quick
	$(BIN)/python benchmarks/prepare.py --quick

clean:
	rm -rf $(VENV) runs build *.egg-info

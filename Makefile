# make demo, make test: everything on a fresh machine. The environment in .venv is made once.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv/bin/python
DEMO := .demo
QUICK := .quick
SETUP := .venv/.done

.PHONY: setup demo weights quick test test-slow lint bench clean

setup: $(SETUP)

$(SETUP): requirements.txt
	@echo "the environment, once, in .venv: PyTorch is large, this takes some minutes"
	@$(PYTHON) -c "import sys; sys.exit('error: expected Python 3.11 to 3.13, found ' + sys.version.split()[0] + ': make PYTHON=FILE' if not (3, 11) <= sys.version_info < (3, 14) else 0)"
	$(PYTHON) -m venv .venv
	$(VENV) -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

# Simulated KS20, from raw files to two tables and a report. SimMC stops after 15 epochs to keep it short.
demo: $(DEMO)/Datasets/KS20/6/split.json
	$(VENV) train_simmc.py --dataset KS20 --probe probe --data $(DEMO)/Datasets --out $(DEMO)/ReID_Models --epochs 15
	$(VENV) train_statistics.py --dataset KS20 --probe probe --data $(DEMO)/Datasets --out $(DEMO)/ReID_Models
	$(VENV) visualize.py $(DEMO)/ReID_Models/KS20/probe $(DEMO)/ReID_Models/statistics/KS20/probe --data $(DEMO)/Datasets --out $(DEMO)/report

$(DEMO)/Datasets/KS20/6/split.json: $(DEMO)/raw/.done
	$(VENV) preprocess.py 6 --dataset KS20 --raw $(DEMO)/raw --out $(DEMO)/Datasets

$(DEMO)/raw/.done: $(SETUP)
	$(VENV) -m data.simulate --dataset KS20 --raw $(DEMO)/raw
	touch $@

# Encoders for Kinect v1 from the real KGBD below RAW (docs/01-data.md): weights/README.md.
RAW ?= .
WEIGHTS := .weights
weights: $(SETUP)
	$(VENV) preprocess.py 6 --dataset KGBD --raw $(RAW) --out $(WEIGHTS)/Datasets
	$(VENV) train_statistics.py --dataset KGBD --data $(WEIGHTS)/Datasets --out $(WEIGHTS)/ReID_Models
	cp $(WEIGHTS)/ReID_Models/statistics/KGBD/probe/best.pt weights/kgbd-statistics.pt
	$(VENV) train_simmc.py --dataset KGBD --data $(WEIGHTS)/Datasets --out $(WEIGHTS)/ReID_Models --epochs 80
	cp $(WEIGHTS)/ReID_Models/KGBD/probe/best.pt weights/kgbd-simmc.pt
	$(VENV) compare.py $(WEIGHTS)/ReID_Models/statistics/KGBD/probe $(WEIGHTS)/ReID_Models/KGBD/probe --all --markdown > weights/figures.md

# Every table once, from raw files on, with tiny simulated data and networks, one epoch each: does everything run?
quick: $(SETUP)
	rm -rf $(QUICK)
	$(VENV) reproduce.py --quick --out $(QUICK)

# A worker for each core; a second thread in one costs more than it brings.
test test-slow: export OMP_NUM_THREADS = 1
test: $(SETUP)
	$(VENV) -m pytest -m "not slow" -n auto --dist loadfile

test-slow: $(SETUP)
	$(VENV) -m pytest -m slow -n auto --dist loadfile

lint: $(SETUP)
	$(VENV) -m ruff check .
	$(VENV) -m isort --check-only --quiet .
	$(VENV) -m yapf --parallel --diff $$(git ls-files '*.py')

bench: $(SETUP)
	$(VENV) -m benchmarks $(BENCH)

clean:
	rm -rf .venv build *.egg-info $(DEMO) $(QUICK) $(WEIGHTS)

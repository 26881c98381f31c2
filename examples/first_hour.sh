#!/usr/bin/env bash
# A new user's first hour: clone, demo, own data, two methods, three seeds, a table for LaTeX, a gallery, the notebook.
#
#     bash examples/first_hour.sh FOLDER            from a checkout; all of it is made in FOLDER/clone
#
# PYTHON is an environment that is there already; without it `make setup` makes one. EPOCHS shortens every training.
set -euo pipefail
step() { printf '\n=== %s\n' "$*"; }

step clone
git clone -q "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)" "$1/clone"
cd "$1/clone"
if [ -z "${PYTHON:-}" ]; then make setup; PYTHON=.venv/bin/python; fi
short=(--epochs "${EPOCHS:-10}")

step "demo (make demo, shorter)"
"$PYTHON" -m data.simulate --dataset KS20 --raw .demo/raw --persons 6
"$PYTHON" preprocess.py 6 --dataset KS20 --raw .demo/raw --out .demo/Datasets
"$PYTHON" train_simmc.py --dataset KS20 --data .demo/Datasets --out .demo/ReID_Models "${short[@]}"
"$PYTHON" visualize.py .demo/ReID_Models/KS20/probe --data .demo/Datasets --out .demo/report

step "recordings of your own"
own=examples/own_data/coco_walkers.yaml
"$PYTHON" -m examples.own_data.simulate_walkers
"$PYTHON" preprocess.py 6 --dataset $own

step "two methods, three seeds"
"$PYTHON" train_simmc.py --dataset $own --seeds 3 --quiet "${short[@]}"
"$PYTHON" train_statistics.py --dataset $own --seeds 3 --quiet "${short[@]}"

step "a table for the paper"
"$PYTHON" compare.py ReID_Models/coco_walkers/probe ReID_Models/statistics/coco_walkers/probe --latex | tee table.tex

step "who is it?"
checkpoint=ReID_Models/statistics/coco_walkers/probe/best.pt
"$PYTHON" gallery.py add eight.gallery --checkpoint $checkpoint --dataset $own --persons 8 --recordings 1
"$PYTHON" gallery.py calibrate eight.gallery --dataset $own --far 0.2
"$PYTHON" gallery.py identify eight.gallery examples/own_data/coco/person11/walk1.csv --dataset $own
"$PYTHON" gallery.py identify eight.gallery --dataset $own | tail -2

step "the notebook"
"$PYTHON" tests/test_tutorial.py .demo/tutorial.ipynb

#!/usr/bin/env bash
# The whole benchmark on synthetic scenes: scenes, patches, training, inference, report.
set -euo pipefail

readonly FOLDER=${1:?the folder to work in}
CONFIG=$(dirname "$0")/../configs/demo.yaml
RUN=$FOLDER/runs/$(date +%Y%m%d-%H%M%S)

readonly CONFIG RUN

step() { printf '\n== %s\n' "$*"; }

mkdir -p "$FOLDER"
if [[ ! -e $FOLDER/patches.h5 ]]; then
  step "scenes: 36 for training, 20 for inference, of 512 x 768 pixels"
  cloudmask-synth --out "$FOLDER/data" --train 36 --test 20 --size 512x768 --seed 1
  step "patches"
  cloudmask-prepare --scenes "$FOLDER/data" --out "$FOLDER/patches.h5"
fi
step "training"
cloudmask-train --config "$CONFIG" --data "$FOLDER/patches.h5" --run "$RUN" \
  --scenes "$FOLDER/data"
step "inference over whole scenes, beside two reference classifiers"
cloudmask-eval --run "$RUN" --scenes "$FOLDER/data" --baselines
step "report"
cloudmask-report "$FOLDER/runs" --out "$FOLDER/report"

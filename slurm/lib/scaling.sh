#!/usr/bin/env bash
# Runs that differ in their number of workers only. To be sourced.
#
# CLOUDMASK_SCALING_RUN     run directory of the step; exported to it
# CLOUDMASK_SCALING_BATCH   its global batch; exported to it
set -euo pipefail

readonly SCALING_EPOCHS=3 # the first of them is not representative, two more show how far they vary

# Start the given script as a step for each size of the allocation, one after the other; end with the
# table. In such a step: go on.
scaling::in_turn() {
  if [[ -n ${SLURM_STEP_ID:-} ]]; then
    nodes::cluster
    return 0
  fi
  [[ -n ${SLURM_JOB_ID:-} ]] || signals::stop "needs an allocation: sbatch slurm/scaling.sbatch"
  local -r gpus=${SLURM_GPUS_ON_NODE:-0} batch=${CLOUDMASK_BATCH:-32}
  local -r each=$((gpus > 0 ? gpus : 1))
  local workers kind
  export CLOUDMASK_SCALING_RUN CLOUDMASK_SCALING_BATCH
  for ((workers = 1; workers <= each * SLURM_JOB_NUM_NODES; workers *= 2)); do
    for kind in strong weak; do
      [[ $kind == strong || $workers != 1 ]] || continue # one worker: both are the same
      CLOUDMASK_SCALING_RUN=$CLOUDMASK_RUNS/scaling/$kind-$workers
      CLOUDMASK_SCALING_BATCH=$batch
      [[ $kind == strong ]] || CLOUDMASK_SCALING_BATCH=$((batch * workers))
      [[ ! -e $CLOUDMASK_SCALING_RUN/result.json ]] || continue
      scaling::step "$workers" "$gpus" "$@"
    done
  done
  environment::run cloudmask-report "$CLOUDMASK_RUNS/scaling" --out "$CLOUDMASK_RUNS/scaling/report"
  cat "$CLOUDMASK_RUNS/scaling/report/tables/scaling.csv"
  exit 0
}

# One size as a step over as few nodes as have so many GPUs; a failure ends the job.
scaling::step() {
  local -r workers=$1 gpus=$2
  local nodes=$workers each=0 code=0
  shift 2
  if ((gpus > 0)); then
    each=$((workers < gpus ? workers : gpus))
    nodes=$(((workers + gpus - 1) / gpus))
  fi
  local options=(--nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1)
  ((each == 0)) || options+=(--gpus-per-node="$each")
  nodes::run "${options[@]}" bash "$@" || code=$?
  ((code == 0)) || signals::end "$code"
}

# The run of this step.
scaling::train() {
  job::run job::in_image cloudmask-train --config "$1" --run "$CLOUDMASK_SCALING_RUN" --data /data/patches.h5 \
    --set training.epochs="$SCALING_EPOCHS" --set early_stopping.enabled=false \
    --set training.batch_size="$CLOUDMASK_SCALING_BATCH"
}

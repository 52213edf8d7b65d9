#!/usr/bin/env bash
# The steps of the jobs. To be sourced from the folder of the checkout.
set -euo pipefail

for part in container environment signals nodes staging; do
  # shellcheck disable=SC1090 # each is checked by itself
  source "slurm/lib/$part.sh"
done

# Which row of which experiment: the array's index, else CLOUDMASK_INDEX, else the first. A job whose
# row is finished ends here.
job::row() {
  JOB_EXPERIMENT=$1
  JOB_INDEX=${SLURM_ARRAY_TASK_ID:-${CLOUDMASK_INDEX:-1}}
  JOB_RUN=$(environment::run cloudmask-grid where "$JOB_EXPERIMENT" --index "$JOB_INDEX" \
    --runs "$CLOUDMASK_RUNS") || exit
  say "row $JOB_INDEX of $JOB_EXPERIMENT: $JOB_RUN, attempt $((${SLURM_RESTART_COUNT:-0} + 1))"
}

job::stop_if_finished() {
  if [[ -e $JOB_RUN/result.json ]]; then
    say "$JOB_RUN: finished already"
    exit 0
  fi
}

# Whether the work can be done here, in one block, before GPU time is lost.
job::preflight() {
  local options=()
  [[ $CLOUDMASK_DEVICE != cpu ]] || options=(--cpu)
  environment::run cloudmask-preflight "${options[@]}" --overlay "$CLOUDMASK_OVERLAY" \
    "${ENVIRONMENT_LOCAL[@]/#/--local=}" --experiment "$JOB_EXPERIMENT" --index "$JOB_INDEX" \
    --runs "$CLOUDMASK_RUNS" >&2 || exit
}

# Train the row, and evaluate it on the scenes, until it is finished or cut off; then end the job.
job::train() {
  local code=0 scenes=()
  if [[ -n $CLOUDMASK_SCENES ]]; then
    scenes=(--scenes "$CLOUDMASK_SCENES")
  elif grep -q '"/data/inference/' "$CLOUDMASK_OVERLAY.json"; then
    scenes=(--scenes /data/inference)
  fi
  container::become "$CLOUDMASK_IMAGE" "${ENVIRONMENT_BINDS[@]}" "${STAGING_BINDS[@]}" \
    cloudmask-grid run "$JOB_EXPERIMENT" --index "$JOB_INDEX" --runs "$CLOUDMASK_RUNS" \
    --data /data/patches.h5 "${scenes[@]}" &
  if [[ -n ${CLOUDMASK_FIRST:-} && ${SLURM_PROCID:-0} == 0 ]]; then
    echo "$!" >"$CLOUDMASK_FIRST"
  fi
  signals::wait $! || code=$?
  staging::close
  signals::end "$code"
}

# Metrics, masks and pictures of a finished run, beside it in `evaluation`.
job::evaluate() {
  local code=0
  if [[ -e $JOB_RUN/evaluation/result.json ]]; then
    say "$JOB_RUN/evaluation: finished already"
    exit 0
  fi
  container::become "$CLOUDMASK_IMAGE" "${ENVIRONMENT_BINDS[@]}" \
    cloudmask-eval --run "$JOB_RUN" --scenes "${CLOUDMASK_SCENES:-data/inference}" \
    --out "$JOB_RUN/evaluation" &
  signals::wait $! || code=$?
  signals::end "$code"
}

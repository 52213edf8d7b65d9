#!/usr/bin/env bash
# The steps of the jobs. To be sourced from the folder of the checkout.
#
# COPIED          set by a job script that runs as Slurm's copy of it
# JOB_EXPERIMENT  experiment of the row, as the user gave it
# JOB_INDEX       number of the row
# JOB_RUN         its run directory
# JOB_SCENES      options that name the scenes to evaluate on
# JOB_PATCHES     patch store that the overlay is made of
set -euo pipefail

# A batch script runs as Slurm's copy elsewhere. Submitted from within a step, say an interactive
# shell, it inherits that step's variables, as if it were one.
if [[ -n ${COPIED:-} ]]; then
  unset TF_CONFIG "${!SLURM_STEP@}"
fi

for part in log container environment signals nodes staging power; do
  # shellcheck disable=SC1090 # each is checked by itself
  source "slurm/lib/$part.sh"
done

# Which row of which experiment: the array's index, else CLOUDMASK_INDEX, else the first. A job whose
# row is finished ends here.
job::row() {
  JOB_EXPERIMENT=$1
  JOB_INDEX=${SLURM_ARRAY_TASK_ID:-${CLOUDMASK_INDEX:-1}}
  JOB_RUN=$(environment::run cloudmask-grid where "$JOB_EXPERIMENT" --index "$JOB_INDEX" \
    --runs "$CLOUDMASK_RUNS") || signals::end "$?"
  log::info "row $JOB_INDEX of $JOB_EXPERIMENT: $JOB_RUN, attempt $((${SLURM_RESTART_COUNT:-0} + 1))"
}

# End the job if this file of the run, its last, is there.
job::stop_if_finished() {
  if [[ -e $JOB_RUN/$1 ]]; then
    log::info "$JOB_RUN/$1: finished already"
    exit 0
  fi
}

# Whether the work can be done here, in one block, before GPU time is lost.
job::preflight() {
  local options=(--overlay "$CLOUDMASK_OVERLAY" "${ENVIRONMENT_LOCAL[@]/#/--local=}")
  [[ $CLOUDMASK_DEVICE != cpu ]] || options+=(--cpu)
  [[ -z ${JOB_EXPERIMENT:-} ]] || options+=(--experiment "$JOB_EXPERIMENT" --index "$JOB_INDEX")
  environment::run cloudmask-preflight "${options[@]}" --runs "$CLOUDMASK_RUNS" >&2 \
    || signals::end "$?"
}

# The caches of this node, before anything is measured. The patches are dropped from the page cache by
# the training itself; the site's own command runs here, since a container cannot.
job::clear_caches() {
  local command code=0
  unset CLOUDMASK_CLEAR_CACHES_CODE
  case $CLOUDMASK_CLEAR_CACHES in store | none | "") return 0 ;; esac
  read -ra command <<<"$CLOUDMASK_CLEAR_CACHES"
  "${command[@]}" >&2 || code=$?
  ((code == 0)) || log::info "WARNING: $CLOUDMASK_CLEAR_CACHES: exit code $code; caches stay"
  export CLOUDMASK_CLEAR_CACHES_CODE=$code
}

# Which other jobs run on this node, as far as Slurm shows them to this user, for the record.
job::note_other_jobs() {
  local numbers number others=()
  unset CLOUDMASK_OTHER_JOBS
  [[ -n ${SLURM_JOB_ID:-} ]] || return 0
  numbers=$(squeue --noheader --nodelist="$SLURMD_NODENAME" --states=RUNNING --format=%A \
    2>/dev/null) || return 0
  for number in $numbers; do
    [[ $number == "$SLURM_JOB_ID" ]] || others+=("$number")
  done
  export CLOUDMASK_OTHER_JOBS="${others[*]-}"
  ((${#others[@]} == 0)) || log::info "WARNING: shares $SLURMD_NODENAME with: ${others[*]}"
}

# The scenes to evaluate on as the array JOB_SCENES: those that are named, or those in the overlay.
job::scenes() {
  JOB_SCENES=()
  if [[ -n $CLOUDMASK_SCENES ]]; then
    JOB_SCENES=(--scenes "$CLOUDMASK_SCENES")
  elif grep -q '"/data/inference/' "$CLOUDMASK_OVERLAY.json"; then
    JOB_SCENES=(--scenes /data/inference)
  fi
}

# Train the row, and evaluate it on the scenes, until it is finished or interrupted; then end the job.
job::train() {
  job::scenes
  job::identify
  power::begin
  job::run job::in_image cloudmask-grid run "$JOB_EXPERIMENT" --index "$JOB_INDEX" \
    --runs "$CLOUDMASK_RUNS" --data /data/patches.h5 "${JOB_SCENES[@]}"
}

# What the record of a run shall hold and the container cannot see: the image's checksum, and the
# features of this node by Slurm. The first worker alone writes the record.
job::identify() {
  local node
  [[ ${SLURM_PROCID:-0} == 0 ]] || return 0
  container::identify "$CLOUDMASK_IMAGE"
  [[ -n ${SLURMD_NODENAME:-} ]] || return 0
  node=$(scontrol --oneliner show node "$SLURMD_NODENAME" 2>/dev/null) || return 0
  [[ $node =~ ActiveFeatures=([^ ]*) ]] || return 0
  export CLOUDMASK_NODE_FEATURES=${BASH_REMATCH[1]}
}

# Metrics, masks and pictures of a finished run, beside it in `evaluation`.
job::evaluate() {
  job::scenes
  job::identify
  if ((${#JOB_SCENES[@]} == 0)); then
    environment::bind data/inference
    JOB_SCENES=(--scenes data/inference)
  fi
  job::run job::in_image cloudmask-eval --run "$JOB_RUN" "${JOB_SCENES[@]}" \
    --out "$JOB_RUN/evaluation"
}

# Patches of the scenes, beside the overlay that is to hold them.
job::prepare() {
  JOB_PATCHES=${CLOUDMASK_OVERLAY%.ext3}.h5
  mkdir -p "$(dirname "$CLOUDMASK_OVERLAY")"
  environment::bind "$(dirname "$CLOUDMASK_OVERLAY")"
  environment::bind "$1"
  job::step job::in_image cloudmask-prepare --scenes "$1" --out "$JOB_PATCHES"
}

# The overlay with the patches and, if they are there, the scenes to evaluate on; then end the job.
job::overlay() {
  local scenes=()
  if [[ -d $1 ]]; then
    environment::bind "$1"
    scenes=(--scenes "$1")
  fi
  # NVIDIA's images bring mkfs.ext3, a small Debian may not; almost every node does.
  local command=(job::in_image cloudmask-overlay)
  environment::run env PATH=/usr/sbin:/sbin:/usr/bin:/bin mkfs.ext3 -V &>/dev/null \
    || command=(overlays/make-overlay)
  job::run "${command[@]}" "$JOB_PATCHES" --out "$CLOUDMASK_OVERLAY" "${scenes[@]}"
}

job::in_image() {
  container::become "$CLOUDMASK_IMAGE" "${ENVIRONMENT_BINDS[@]}" "${STAGING_BINDS[@]}" "$@"
}

# Run a command that gets the job's signals; end the job if it does not succeed.
job::step() {
  local code=0
  "$@" &
  if [[ -n ${CLOUDMASK_FIRST:-} && ${SLURM_PROCID:-0} == 0 ]]; then
    echo "$!" >"$CLOUDMASK_FIRST"
  fi
  signals::wait $! || code=$?
  ((code == 0)) || job::end "$code"
}

# The same as the job's last.
job::run() {
  job::step "$@"
  job::end 0
}

job::end() {
  if (($1 == 0 || $1 == SIGNALS_INTERRUPTED)); then
    nodes::leave
  fi
  staging::close
  signals::end "$1"
}

#!/usr/bin/env bash
# The overlay's files on the node's own disk, once per node. To be sourced.
#
# `cloudmask-stage share` holds this task's lease on the copy for as long as this shell lives: it
# ends with its standard input, also if the shell is killed.
#
# STAGING_BINDS     options of container::exec that make the data visible as /data
# STAGING_PROCESS   process that holds the copy, "" if there is none
# STAGING_INPUT     its standard input
# STAGING_DATA      directory of the copy, "" if the data is read from the overlay
# STAGING_TMP       temporary directory to remove, else ""
# STAGING_KEPT      directory with a mark for each node that keeps a copy for tasks to come, else ""
set -euo pipefail

STAGING_BINDS=()
STAGING_PROCESS=
STAGING_INPUT=
STAGING_TMP=
STAGING_DATA=
STAGING_KEPT=

staging::open() {
  local data tmp record code=0
  signals::at_exit staging::close
  [[ -z $SIGNALS_GOT ]] || signals::end "$SIGNALS_INTERRUPTED"
  STAGING_KEPT=${SLURM_ARRAY_JOB_ID:+slurm/logs/.kept-$SLURM_ARRAY_JOB_ID}
  # From here on this task answers for what is kept on its node.
  [[ -z $STAGING_KEPT ]] || rm -f "$STAGING_KEPT/$SLURMD_NODENAME"
  coproc STAGING {
    container::become "$CLOUDMASK_IMAGE" "${ENVIRONMENT_BINDS[@]}" \
      cloudmask-stage share "$CLOUDMASK_OVERLAY" "${ENVIRONMENT_LOCAL[@]/#/--local=}"
  }
  # The shell forgets these when the process ends.
  STAGING_PROCESS=$STAGING_PID STAGING_INPUT=${STAGING[1]}
  signals::to "$STAGING_PROCESS" TERM
  if ! { read -r data && read -r tmp && read -r record; } <&"${STAGING[0]}"; then
    signals::wait "$STAGING_PROCESS" || code=$?
    signals::end "$code"
  fi
  signals::to ""
  STAGING_DATA=$data
  if [[ -n $data ]]; then
    STAGING_BINDS=(--bind "$data:/data:ro")
  else
    # shellcheck disable=SC2034 # job.sh runs the program with it
    STAGING_BINDS=(--option --overlay --option "$CLOUDMASK_OVERLAY:ro")
    STAGING_TMP=$(mktemp -d -t cloudmask-XXXXXX)
    tmp=$STAGING_TMP
  fi
  export TMPDIR=$tmp CLOUDMASK_STAGED=$record
}

# Give the lease back. The last task on the node removes the copy, unless tasks of this array are
# still to begin: the next one finds it.
staging::close() {
  signals::not_at_exit staging::close
  [[ -z $STAGING_TMP ]] || rm -rf "$STAGING_TMP"
  [[ -n $STAGING_PROCESS ]] || return 0
  unset TMPDIR
  # A folder of this job's own, as its number in the name tells, is of no use to the next.
  local -r own="[^[:alnum:]]${SLURM_JOB_ID:-none}[^[:alnum:]]"
  if [[ ! $STAGING_DATA =~ $own ]] && staging::others_to_come; then
    mkdir -p "$STAGING_KEPT"
    touch "$STAGING_KEPT/$SLURMD_NODENAME"
    echo keep >&"$STAGING_INPUT" || true
  fi
  exec {STAGING_INPUT}>&-
  if ! wait "$STAGING_PROCESS" && ((${#ENVIRONMENT_LOCAL[@]})); then
    # A signal to the whole job may have ended it amid its work.
    environment::run cloudmask-stage clean "${ENVIRONMENT_LOCAL[@]/#/--local=}" || true
  fi
  STAGING_PROCESS=
  staging::clean_other_nodes
}

staging::others_to_come() {
  [[ -n ${SLURM_ARRAY_JOB_ID:-} ]] || return 1
  local command=(squeue --noheader --jobs="$SLURM_ARRAY_JOB_ID" --states=PENDING --format=%i)
  [[ -n $("${command[@]}" 2>/dev/null) ]]
}

# The array's last task sees to nodes where a copy was kept and nobody came: a small job for each.
staging::clean_other_nodes() {
  local mark node
  [[ -d ${STAGING_KEPT:-} ]] && ! staging::others_to_come || return 0
  for mark in "$STAGING_KEPT"/*; do
    node=${mark##*/}
    [[ -e $mark && $node != "$SLURMD_NODENAME" ]] || continue
    [[ -z $(squeue --noheader --jobs="$SLURM_ARRAY_JOB_ID" --nodelist="$node" --states=RUNNING) ]] \
      || continue
    # Of several tasks that end at once, one gets the mark.
    rm "$mark" 2>/dev/null || continue
    sbatch --nodelist="$node" --partition="$SLURM_JOB_PARTITION" \
      ${SLURM_JOB_ACCOUNT:+--account="$SLURM_JOB_ACCOUNT"} ${SLURM_JOB_QOS:+--qos="$SLURM_JOB_QOS"} \
      slurm/clean.sbatch >&2 \
      || log::info "WARNING: a copy is left on $node: bash slurm/clean.sbatch removes it there"
  done
  rmdir "$STAGING_KEPT" 2>/dev/null || true
}

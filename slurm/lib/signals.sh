#!/usr/bin/env bash
# Signals in a job, in one place, and all traps. To be sourced.
#
#   USR1  the time limit is near: the program saves and ends with 75, the job is queued again
#   TERM  scancel or preemption: the program saves and ends; Slurm itself queues again what it
#         preempted, what was canceled stays so
#   KILL  cannot be noticed. Another process of the job cleans up, or the next job on the node does
#
# A program that a signal has killed (out of memory, a dead node) is begun again, too, as it continues
# from its last checkpoint; a fault (1), wrong input (2) or a container that cannot start (255) would
# only come again.
#
# SIGNALS_GOT       the last signal of this shell, "" before the first
# SIGNALS_CHILD     process that gets the signals, "" if there is none
# SIGNALS_WARNING   signal that the child gets for a USR1
# SIGNALS_FILE      file with the number of the process that gets USR1 in the child's place
# SIGNALS_AT_EXIT   functions to call when this shell ends
set -euo pipefail

readonly SIGNALS_INTERRUPTED=75 # exit code of what saved its state and can be continued
# Exit codes of what a signal has killed: 128 and the signal's number.
readonly SIGNALS_FIRST_KILLED=129 SIGNALS_LAST_KILLED=192
readonly SIGNALS_MOST_ATTEMPTS=${CLOUDMASK_ATTEMPTS:-10}

SIGNALS_GOT=
SIGNALS_CHILD=
SIGNALS_WARNING=USR1
SIGNALS_FILE=
SIGNALS_AT_EXIT=()

signals::catch() {
  trap 'signals::got USR1' USR1
  trap 'signals::got TERM' TERM INT
  trap signals::exit EXIT
}

# Call a function when this shell ends, however that comes.
signals::at_exit() {
  signals::not_at_exit "$1"
  SIGNALS_AT_EXIT+=("$1")
}

signals::not_at_exit() {
  local name kept=()
  for name in "${SIGNALS_AT_EXIT[@]}"; do
    [[ $name == "$1" ]] || kept+=("$name")
  done
  SIGNALS_AT_EXIT=("${kept[@]}")
}

signals::exit() {
  local name
  trap - EXIT
  for name in "${SIGNALS_AT_EXIT[@]}"; do
    "$name"
  done
}

# Which process gets the signals, and which one for a USR1.
signals::to() {
  SIGNALS_CHILD=$1 SIGNALS_WARNING=${2:-USR1}
}

# A file with the number of the process that gets USR1 in the child's place, once it is there.
signals::by_file() {
  SIGNALS_FILE=$1
}

signals::got() {
  SIGNALS_GOT=$1
  log::info "got SIG$1"
  signals::pass
}

signals::pass() {
  local signal=$SIGNALS_GOT process=$SIGNALS_CHILD
  if [[ $signal == USR1 ]]; then
    signal=$SIGNALS_WARNING
    [[ ! -s $SIGNALS_FILE ]] || process=$(<"$SIGNALS_FILE")
  fi
  [[ -z $process ]] || kill "-$signal" "$process" 2>/dev/null || true
}

# Wait for a process of this shell, which gets the signals; a trap ends a wait, but not the process.
signals::wait() {
  local code
  SIGNALS_CHILD=$1
  # A signal that came before there was a process to receive it.
  [[ -z $SIGNALS_GOT ]] || signals::pass
  while :; do
    code=0
    # The shell would print the whole command line of what was killed.
    wait "$SIGNALS_CHILD" 2>/dev/null || code=$?
    kill -0 "$SIGNALS_CHILD" 2>/dev/null || break
  done
  SIGNALS_CHILD=
  # The program was killed before it could save on a signal.
  if ((code > 128)) && [[ -n $SIGNALS_GOT ]]; then
    code=$SIGNALS_INTERRUPTED
  fi
  return "$code"
}

# End the job with the exit code of its work, queued again where that helps.
signals::end() {
  local -r code=$1 attempt=$((${SLURM_RESTART_COUNT:-0} + 1))
  if ((code >= SIGNALS_FIRST_KILLED && code <= SIGNALS_LAST_KILLED)); then
    log::info "killed by SIG$(kill -l $((code - 128)))"
  elif ((code != SIGNALS_INTERRUPTED)); then
    # Of several nodes' codes srun returns the largest only, and this one decides.
    ((code == 0)) || [[ -z ${CLOUDMASK_FIRST:-} ]] || echo "$code" >"$CLOUDMASK_FIRST.failed"
    exit "$code"
  fi
  if [[ $SIGNALS_GOT == TERM ]]; then
    log::info "canceled or preempted; the same command continues"
  elif [[ -z ${SLURM_JOB_ID:-} || -n ${SLURM_STEP_ID:-} ]]; then
    log::info "interrupted (exit code $code); the same command continues"
  elif ((attempt >= SIGNALS_MOST_ATTEMPTS)); then
    log::info "interrupted in attempt $attempt of $SIGNALS_MOST_ATTEMPTS (CLOUDMASK_ATTEMPTS): not queued again"
  # By index: one task of each array has the array's number as its own, which means all of them.
  elif scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"; then
    log::info "interrupted in attempt $attempt of $SIGNALS_MOST_ATTEMPTS: queued again"
  else
    log::info "interrupted, and this cluster refuses to queue the job again: submit it again"
  fi
  exit "$code"
}

# End the job, since what it was given cannot be used.
signals::stop() {
  log::info "error: $*"
  signals::end 2
}

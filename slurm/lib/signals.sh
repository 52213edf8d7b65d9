#!/usr/bin/env bash
# Signals in a job, in one place. To be sourced.
#
#   USR1  the time limit is near: the program saves and ends with 75, the job is queued again
#   TERM  scancel or preemption: the program saves and ends; what was preempted Slurm itself queues
#         again, what was cancelled stays so
#   KILL  nobody hears it. Another process of the job tidies up, or the next job on the node does
#
# A program that a signal has killed (out of memory, a dead node) is begun again, too, as it goes on
# from its last checkpoint; a fault (1), wrong input (2) or a container that cannot start (255) would
# only come again.
set -euo pipefail

readonly CUT_OFF=75
# Exit codes of what a signal has killed: 128 and the signal's number.
readonly FIRST_SIGNAL=129 LAST_SIGNAL=192
readonly MOST_ATTEMPTS=${CLOUDMASK_ATTEMPTS:-10}

SIGNALS_GOT=
SIGNALS_CHILD=
SIGNALS_WARNING=USR1
SIGNALS_FILE=

signals::catch() {
  trap 'signals::got USR1' USR1
  trap 'signals::got TERM' TERM INT
}

# Whom signals go to, and what it gets for a USR1.
signals::to() {
  SIGNALS_CHILD=$1 SIGNALS_WARNING=${2:-USR1}
}

# A file with the number of the process that gets USR1 in the child's place, once it is there.
signals::by_file() {
  SIGNALS_FILE=$1
}

signals::got() {
  SIGNALS_GOT=$1
  say "got SIG$1"
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
  # One that came before there was anyone to tell.
  [[ -z $SIGNALS_GOT ]] || signals::pass
  while :; do
    code=0
    # The shell would print the whole command line of what was killed.
    wait "$SIGNALS_CHILD" 2>/dev/null || code=$?
    kill -0 "$SIGNALS_CHILD" 2>/dev/null || break
  done
  SIGNALS_CHILD=
  # It had not yet learned to save.
  if ((code > 128)) && [[ -n $SIGNALS_GOT ]]; then
    code=$CUT_OFF
  fi
  return "$code"
}

# End the job with the exit code of its work, queued again where that helps.
signals::end() {
  local -r code=$1 attempt=$((${SLURM_RESTART_COUNT:-0} + 1))
  if ((code >= FIRST_SIGNAL && code <= LAST_SIGNAL)); then
    say "killed by SIG$(kill -l $((code - 128)))"
  elif ((code != CUT_OFF)); then
    # Of several nodes' codes srun tells the largest only, and this one decides.
    ((code == 0)) || [[ -z ${CLOUDMASK_FIRST:-} ]] || echo "$code" >"$CLOUDMASK_FIRST.failed"
    exit "$code"
  fi
  if [[ $SIGNALS_GOT == TERM ]]; then
    say "cancelled or preempted; the same command continues"
  elif [[ -z ${SLURM_JOB_ID:-} || -n ${SLURM_STEP_ID:-} ]]; then
    say "cut off (exit code $code); the same command continues"
  elif ((attempt >= MOST_ATTEMPTS)); then
    say "cut off in attempt $attempt of $MOST_ATTEMPTS (CLOUDMASK_ATTEMPTS): not queued again"
  # By index: one task of each array has the array's number as its own, which means all of them.
  elif scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"; then
    say "cut off in attempt $attempt of $MOST_ATTEMPTS: queued again"
  else
    say "cut off, and this cluster refuses to queue the job again: submit it again"
  fi
  exit "$code"
}

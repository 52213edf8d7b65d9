#!/usr/bin/env bash
# The node's power, which a container cannot ask for: while the job runs, what the node's programs answer
# is kept in files that the telemetry reads (cloudmask/record/energy.py). To be sourced.
#
# CLOUDMASK_NODE_POWER  how the files' names begin, as the container sees them; exported
# POWER_FOLDER          folder of these files, "" if the node tells nothing
# POWER_SAMPLER         process that asks again and again, "" if there is none
set -euo pipefail

readonly POWER_SECONDS=30 # from one question to the next: scontrol asks the cluster's one controller

POWER_FOLDER=
POWER_SAMPLER=

power::begin() {
  [[ ${SLURM_PROCID:-0} == 0 ]] || return 0
  POWER_FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/cloudmask-power.XXXXXX") || return 0
  signals::at_exit power::end
  power::ask ipmi
  power::ask slurm
  if [[ -z $(ls "$POWER_FOLDER") ]]; then
    power::end
    return 0
  fi
  # Named as the container has it, for which this job's temporary folder is another.
  export CLOUDMASK_NODE_POWER=$CONTAINER_TMP/${POWER_FOLDER##*/}/power
  power::repeat </dev/null &>/dev/null &
  POWER_SAMPLER=$!
}

power::end() {
  if [[ -n $POWER_SAMPLER ]]; then
    kill "$POWER_SAMPLER" 2>/dev/null || true
    wait "$POWER_SAMPLER" 2>/dev/null || true
  fi
  [[ -z $POWER_FOLDER ]] || rm -rf "$POWER_FOLDER"
}

# Ask again whoever has answered, until this job ends.
power::repeat() {
  local name
  trap - EXIT USR1 TERM INT
  while sleep "$POWER_SECONDS"; do
    for name in ipmi slurm; do
      [[ ! -e $POWER_FOLDER/power.$name ]] || power::ask "$name"
    done
  done
}

# Keep the answer of one source if it tells a power or an energy.
power::ask() {
  local -r file=$POWER_FOLDER/power.$1
  local answer=''
  case $1 in
    ipmi) answer=$(timeout 5 ipmitool dcmi power reading 2>/dev/null) || return 0 ;;
    slurm)
      answer=$(timeout 5 scontrol --oneliner show node "${SLURMD_NODENAME:-}" 2>/dev/null) || return 0
      ;;
  esac
  if [[ $answer =~ (power reading: +|CurrentWatts=|ConsumedJoules=)[1-9] ]]; then
    echo "$answer" >"$file.new"
    mv -f "$file.new" "$file"
  fi
}

#!/usr/bin/env bash
# One node or several. To be sourced.
#
# CLOUDMASK_JOB_SCRIPT  the job script, from here; exported, so that the run keeps a copy of it
# CLOUDMASK_FIRST   file with the process number of the first worker's program; exported, so that the
#                   workers of the job's step have it; beside it with .failed: the exit code that counts
set -euo pipefail

# Of the ports above this, one for each job and worker is taken.
readonly NODES_FIRST_PORT=20000 NODES_PORTS=10000

# On several nodes, and in an allocation that is entered by hand: run the given script once on each
# node and end with what becomes of it. In such a step, and on a single node: go on.
nodes::enter() {
  local code=0
  export CLOUDMASK_JOB_SCRIPT=$1
  if [[ -n ${SLURM_STEP_ID:-} ]]; then
    nodes::cluster
    return 0
  fi
  [[ -n ${SLURM_JOB_ID:-} ]] || return 0
  # A batch script of one node is where it should be.
  [[ ${SLURM_JOB_NUM_NODES:-1} != 1 || -z ${SLURM_PROCID:-} ]] || return 0
  nodes::run --ntasks-per-node=1 bash "$@" || code=$?
  signals::end "$code"
}

# Run a script of ours as a step with these options of srun; returns the exit code that counts.
nodes::run() {
  local code=0
  # A signal to srun would reach every process of the step, also those that serve the image's file
  # system and would die of it. So the first worker's program alone gets it; the others follow.
  export CLOUDMASK_FIRST=$PWD/slurm/logs/.first-$SLURM_JOB_ID
  nodes::clean_up
  signals::at_exit nodes::clean_up
  # In an allocation entered by hand, this may be another machine.
  [[ -z ${SLURM_PROCID:-} ]] || signals::by_file "$CLOUDMASK_FIRST"
  # Since Slurm 22.05 a step does not get the job's processors by itself. A worker that fails ends
  # the step; one that is done waits for the first, which still evaluates or saves.
  srun ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} --kill-on-bad-exit=1 --wait=0 \
    "$@" &
  signals::wait $! || code=$?
  [[ ! -s $CLOUDMASK_FIRST.failed ]] || code=$(<"$CLOUDMASK_FIRST.failed")
  return "$code"
}

nodes::clean_up() {
  rm -f "$CLOUDMASK_FIRST" "$CLOUDMASK_FIRST.failed"
}

# A worker has ended well or saved: the first shows it by removing its file, the others wait for that.
nodes::leave() {
  [[ -n ${CLOUDMASK_FIRST:-} ]] || return 0
  if [[ ${SLURM_PROCID:-0} == 0 ]]; then
    rm -f "$CLOUDMASK_FIRST"
    return 0
  fi
  while [[ -e $CLOUDMASK_FIRST ]]; do
    sleep 1
  done
}

# TensorFlow's description of the workers, one on each node of this step.
nodes::cluster() {
  ((${SLURM_STEP_NUM_TASKS:-1} > 1)) || return 0
  ((SLURM_STEP_NUM_TASKS == SLURM_STEP_NUM_NODES)) \
    || signals::stop "$SLURM_STEP_NUM_TASKS tasks on $SLURM_STEP_NUM_NODES nodes; expected --ntasks-per-node=1"
  local workers=() address node
  local port=$((NODES_FIRST_PORT + SLURM_JOB_ID * 16 % NODES_PORTS))
  while read -r node; do
    address=$(scontrol --oneliner show node "$node" | grep -o ' NodeAddr=[^ ]*')
    workers+=("\"${address#*=}:$((port++))\"")
    # Traffic between workers goes past a site's proxy.
    export no_proxy=${no_proxy:+$no_proxy,}${address#*=}
  done < <(scontrol show hostnames "$SLURM_STEP_NODELIST")
  local -r list=$(
    IFS=,
    echo "${workers[*]}"
  )
  export TF_CONFIG="{\"cluster\": {\"worker\": [$list]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  log::info "worker $SLURM_PROCID of ${#workers[@]}: $list"
}

#!/usr/bin/env bash
# One node or several. To be sourced.
set -euo pipefail

# Of the ports above this, one for each job and worker is taken.
readonly FIRST_PORT=20000 PORTS=10000

# On several nodes, and in an allocation that is entered by hand: run the given script once on each
# node and end with what becomes of it. In such a step, and on a single node: go on.
nodes::enter() {
  local code=0
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
  # system and would die of it. So the first worker's program is told alone; the others follow it.
  export CLOUDMASK_FIRST=$PWD/slurm/logs/.first-$SLURM_JOB_ID
  rm -f "$CLOUDMASK_FIRST" "$CLOUDMASK_FIRST.failed"
  trap 'rm -f "$CLOUDMASK_FIRST" "$CLOUDMASK_FIRST.failed"' EXIT
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

# A worker has ended well or saved: the first says so by removing its file, the others wait for that.
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
    || stop_with "$SLURM_STEP_NUM_TASKS tasks on $SLURM_STEP_NUM_NODES nodes; expected --ntasks-per-node=1"
  local workers=() address node
  local port=$((FIRST_PORT + SLURM_JOB_ID * 16 % PORTS))
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
  say "worker $SLURM_PROCID of ${#workers[@]}: $list"
}

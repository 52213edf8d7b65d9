#!/usr/bin/env bash
# Bring real Slurm onto a Debian 12 machine and run a cluster of several slurmd there, with GPUs that
# only the scheduler believes in. Needs root and apt, no systemd.
#
#   slurm.sh start FOLDER NODES CPUS   start it (again) for the nodes n1, n2, …; FOLDER gets its logs
#   slurm.sh node FOLDER NAME up|kill  start one slurmd, or kill it with all that it runs
#   slurm.sh stop FOLDER               end it and kill its jobs
set -euo pipefail

readonly BASE_PORT=16800
# Each node of the cluster needs a character device of its own for its GPU.
readonly DEVICES=(null zero full random urandom tty)

stop_with() {
  echo "slurm.sh: $*" >&2
  exit 2
}

install_slurm() {
  command -v slurmctld >/dev/null && command -v munged >/dev/null && return
  # Its services do not start by themselves: the configuration is ours.
  bash "${BASH_SOURCE[0]%/*}/apt.sh" slurm-wlm munge
}

start_munge() {
  [[ -s /etc/munge/munge.key ]] || {
    dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
    chown munge:munge /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
  }
  install -d -o munge -g munge -m 755 /run/munge
  install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge
  if ! munge -n >/dev/null 2>&1; then
    rm -f /run/munge/munge.socket.2
    runuser -u munge -- /usr/sbin/munged --force
  fi
}

configure() {
  local -r folder=$1 nodes=$2 cpus=$3
  local -r host=$(hostname -s) memory=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
  local number
  {
    cat <<CONF
ClusterName=cloudmask
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((BASE_PORT - 1))
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
# A job that is requeued waits until its credential has expired.
AuthInfo=cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmdPidFile=$folder/%n.pid
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdLogFile=$folder/%n.log
SlurmctldLogFile=$folder/slurmctld.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=5
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=5
KillWait=5
MpiDefault=none
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/completed
GresTypes=gpu
CONF
    for ((number = 1; number <= nodes; number++)); do
      echo "NodeName=n$number NodeHostname=$host NodeAddr=127.0.0.1 Port=$((BASE_PORT + number))" \
        "CPUs=$cpus RealMemory=$memory Gres=gpu:v100:1 Feature=a100_80gb State=UNKNOWN"
    done
    echo "PartitionName=main Nodes=ALL Default=YES State=UP PriorityTier=1"
    echo "PartitionName=urgent Nodes=ALL State=UP PriorityTier=2"
  } >/etc/slurm/slurm.conf
  for ((number = 1; number <= nodes; number++)); do
    echo "NodeName=n$number Name=gpu Type=v100 File=/dev/${DEVICES[number - 1]}"
  done >/etc/slurm/gres.conf
}

# End a daemon by the file that holds its process id, and what it has started.
end() {
  local -r file=$1 signal=$2
  local id
  [[ -s $file ]] || return 0
  id=$(<"$file")
  kill "-$signal" "$id" 2>/dev/null || true
  for _ in {1..100}; do
    # Where nobody collects the dead they stay as Z.
    [[ $(ps -o stat= -p "$id") == [!Z]* ]] || break
    sleep 0.05
  done
  rm -f "$file"
}

start_node() {
  mkdir -p "$1/spool-$2"
  slurmd -N "$2"
}

# A node that dies takes all that runs on it along; the daemon first, so that it cannot report it.
kill_node() {
  local -r folder=$1 name=$2
  local tasks
  end "$folder/$name.pid" KILL
  tasks=$(tasks_of "$name")
  # shellcheck disable=SC2046,SC2086 # several numbers
  kill -KILL $(step_daemons $tasks) $tasks 2>/dev/null || true
}

# Processes of the jobs of a node.
tasks_of() {
  local process
  for process in /proc/[0-9]*; do
    if grep -qz "^SLURMD_NODENAME=$1\$" "$process/environ" 2>/dev/null; then
      echo "${process##*/}"
    fi
  done
}

# Those parents of processes that started them for Slurm.
step_daemons() {
  local task parent
  for task in "$@"; do
    parent=$(awk '/^PPid:/ { print $2 }' "/proc/$task/status" 2>/dev/null) || continue
    if [[ $(readlink "/proc/$parent/exe") == */slurmstepd* ]]; then
      echo "$parent"
    fi
  done | sort -u
}

start() {
  local -r folder=$1 nodes=$2 cpus=$3
  local number
  [[ $(id -u) == 0 ]] || stop_with "needs root"
  [[ -r /etc/debian_version ]] || stop_with "needs Debian; elsewhere use the Slurm that is there"
  ((nodes <= ${#DEVICES[@]})) || stop_with "at most ${#DEVICES[@]} nodes"
  install_slurm
  stop "$folder"
  mkdir -p "$folder/state"
  start_munge
  configure "$folder" "$nodes" "$cpus"
  slurmctld
  for ((number = 1; number <= nodes; number++)); do
    start_node "$folder" "n$number"
  done
  for _ in {1..100}; do
    [[ $(sinfo --noheader --Node --states=idle 2>/dev/null | wc -l) -ge $nodes ]] && return
    sleep 0.1
  done
  sinfo --Node --long >&2 || true
  stop_with "the nodes do not come up; see $folder/*.log"
}

stop() {
  local -r folder=$1
  local file name
  end "$folder/slurmctld.pid" TERM
  # Jobs that still run would report to the next cluster.
  for file in "$folder"/spool-*; do
    name=${file##*/spool-}
    [[ ! -d $file ]] || kill_node "$folder" "$name"
  done
  rm -rf "$folder/state" "$folder"/spool-*
}

case ${1:-} in
  start) start "${2:?folder}" "${3:?nodes}" "${4:?processors of each}" ;;
  stop) stop "${2:?folder}" ;;
  node)
    case ${4:-} in
      up) start_node "$2" "$3" ;;
      kill) kill_node "$2" "$3" ;;
      *) stop_with "node FOLDER NAME up|kill" ;;
    esac
    ;;
  *) stop_with "expected start, node or stop" ;;
esac

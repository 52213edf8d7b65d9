#!/usr/bin/env bash
# Run commands in an image, isolated from the host: no home, nothing of the user's environment but
# the variables listed here, and the GPU only where there is one. To be sourced.
#
#   container::exec IMAGE [--bind SRC[:DST[:ro]]]… [--env NAME=VALUE]… [--option OPT]… COMMAND…
#   container::become …   the same in place of this shell, so that signals reach the runtime
#
# CLOUDMASK_RUNTIME: the runtime (default: apptainer, else singularity).
# CLOUDMASK_GPU: "auto" (default), "yes" or "no".
#
# CLOUDMASK_IMAGE_SHA256: the image's checksum, which container::identify exports for the record.
#
# CONTAINER_COMMAND     the command line that is run
# CONTAINER_VARIABLES   variables to pass on, each as NAME=VALUE
set -euo pipefail

readonly CONTAINER_TMP=/cloudmask/tmp # where temporary files go in the container

# Passed on if set. Everything else of the host stays outside: PYTHONPATH, LD_PRELOAD, conda's …
readonly CONTAINER_PASSED='^(SLURM_|SLURMD_|LSB_JOBID$|LSB_JOBINDEX$|LSB_JOBNAME$|LSB_QUEUE$|LSB_HOSTS$|LSB_MCPU_HOSTS$|LSB_DJOB_NUMPROC$|PMI_|PMIX_|NCCL_|CLOUDMASK_|TF_CONFIG$|TF_NUM_|CUDA_VISIBLE_DEVICES$|NVIDIA_VISIBLE_DEVICES$|OMP_NUM_THREADS$|TZ$|LANG$|LC_ALL$|https?_proxy$|no_proxy$)'

container::runtime() {
  local name
  for name in ${CLOUDMASK_RUNTIME:-apptainer singularity}; do
    if command -v "$name" >/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "error: no ${CLOUDMASK_RUNTIME:-apptainer or singularity} on PATH; name its module in CLOUDMASK_MODULES, or load it" >&2
  return 2
}

# Export the SHA-256 of an image as CLOUDMASK_IMAGE_SHA256, "" for one that is a folder: from the file
# that `make image` wrote beside it, else from the user's cache, else by reading the image, once.
# cloudmask/hardware/container_image.py reads and writes the same files.
container::identify() {
  local -r image=$1
  local state='' line='' sum='' cache
  export CLOUDMASK_IMAGE_SHA256=
  [[ -f $image && -r $image ]] || return 0
  if [[ -r $image.sha256 ]]; then
    { read -r state && read -r line; } <"$image.sha256" || true
    [[ $state != "# $(stat -L -c 'size %s, modified %Y' "$image")" ]] || sum=${line%% *}
  fi
  cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/cloudmask/images/$(stat -L -c '%d-%i-%s-%.9Y' "$image")
  if [[ ! $sum =~ ^[0-9a-f]{64}$ && -r $cache ]]; then
    read -r sum <"$cache" || true
  fi
  if [[ ! $sum =~ ^[0-9a-f]{64}$ ]]; then
    echo "$image: computing its checksum, once" >&2
    sum=$(sha256sum <"$image") || return 0
    sum=${sum%% *}
    # Under a name of its own first: several jobs may begin at once.
    { mkdir -p "${cache%/*}" && echo "$sum" >"$cache.$$" && mv -f "$cache.$$" "$cache"; } 2>/dev/null || true
  fi
  CLOUDMASK_IMAGE_SHA256=$sum
}

# Whether this node has a GPU whose driver works.
container::has_gpu() {
  case ${CLOUDMASK_GPU:-auto} in
    yes) return 0 ;;
    no) return 1 ;;
    auto) [[ -n $(nvidia-smi --list-gpus 2>/dev/null) ]] ;;
    *)
      echo "error: CLOUDMASK_GPU=$CLOUDMASK_GPU; expected auto, yes or no" >&2
      exit 2
      ;;
  esac
}

# The variables of this environment to pass on, NUL-separated NAME=VALUE.
container::passed() {
  local name
  while read -r name; do
    if [[ $name =~ $CONTAINER_PASSED ]]; then
      printf '%s=%s\0' "$name" "${!name}"
    fi
  done < <(compgen -e)
}

# The command line that container::exec runs, as the array CONTAINER_COMMAND, and the variables to
# pass on, as the array CONTAINER_VARIABLES.
container::command() {
  local -r image=$1
  shift
  if [[ ! -r $image ]]; then
    echo "error: $image: no such image; make it with: make image" >&2
    return 2
  fi
  local runtime
  runtime=$(container::runtime) || return
  CONTAINER_COMMAND=("$runtime" -q exec --cleanenv --contain --no-home --pwd "$PWD" --bind "$PWD")
  CONTAINER_VARIABLES=()
  mapfile -d '' -t CONTAINER_VARIABLES < <(container::passed)
  while (($#)); do
    case $1 in
      --bind) CONTAINER_COMMAND+=(--bind "${2:?--bind SRC}") ;;
      --env) CONTAINER_VARIABLES+=("${2:?--env NAME=VALUE}") ;;
      --option) CONTAINER_COMMAND+=("${2:?--option OPT}") ;;
      *) break ;;
    esac
    shift 2
  done
  if (($# == 0)); then
    echo "error: container::exec $image: no command given" >&2
    return 2
  fi
  # Node-local scratch for temporary files, since --contain makes /tmp small. It gets a name of its own:
  # /tmp itself may be one of the job's directories, and of two binds with one name the first counts.
  CONTAINER_COMMAND+=(--bind "${TMPDIR:-/tmp}:$CONTAINER_TMP")
  CONTAINER_VARIABLES+=("TMPDIR=$CONTAINER_TMP")
  if container::has_gpu; then
    # Several tasks of a node exchange gradients through shared memory.
    CONTAINER_COMMAND+=(--nv --bind /dev/shm)
  fi
  CONTAINER_COMMAND+=("$image" "$@")
}

# Run a command in an image, in the foreground; its exit code is the command's.
container::exec() {
  (container::become "$@")
}

container::become() {
  local CONTAINER_COMMAND CONTAINER_VARIABLES pair
  container::command "$@" || exit
  # By the runtime's own prefixes instead of --env, which splits values at commas. Both runtimes
  # read SINGULARITYENV_; Apptainer warns of it, so it gets its own.
  local prefix=APPTAINERENV_
  [[ ${CONTAINER_COMMAND[0]##*/} == singularity* ]] && prefix=SINGULARITYENV_
  for pair in "${CONTAINER_VARIABLES[@]}"; do
    export "$prefix$pair"
  done
  exec "${CONTAINER_COMMAND[@]}"
}

# The image's own test, with the GPU where there is one.
container::self_test() {
  local runtime options=(--cleanenv --contain --no-home)
  runtime=$(container::runtime) || return
  if container::has_gpu; then
    options+=(--nv)
  fi
  "$runtime" test "${options[@]}" "$1"
}

#!/usr/bin/env bash
# Where a job runs and what it works on. To be sourced.
#
# What may be set, by hand or by `cloudmask-grid submit --site S --gpu G`:
#   CLOUDMASK_SITE      site file or its name (generic); fills in whatever of the following is unset
#   CLOUDMASK_IMAGE     container image
#   CLOUDMASK_DEVICE    what the preflight insists on: gpu or cpu
#   CLOUDMASK_OVERLAY   overlay image on the shared file system, its manifest beside it
#   CLOUDMASK_SCENES    scenes to evaluate on; those in the overlay otherwise, if it has any
#   CLOUDMASK_LOCAL     node-local directories, the first that can be used is taken
#   CLOUDMASK_MODULES   modules to load
#   CLOUDMASK_RUNS      where runs lie (runs)
# Variables of the job in these, such as $SLURM_TMPDIR, are put in.
set -euo pipefail

readonly SITE_VARIABLES=(CLOUDMASK_IMAGE CLOUDMASK_DEVICE CLOUDMASK_OVERLAY CLOUDMASK_SCENES
  CLOUDMASK_LOCAL CLOUDMASK_MODULES)

say() { printf '%(%H:%M:%S)T %s\n' -1 "$*" >&2; }

stop_with() {
  say "error: $*"
  signals::end 2
}

environment::load() {
  local name
  export USER=${USER:-$(id -un)} CLOUDMASK_RUNS=${CLOUDMASK_RUNS:-runs}
  [[ $PWD != *[,:]* ]] || stop_with "$PWD: container runtimes take no comma or colon in a folder's name"
  # That of the machine where the job was submitted, as likely as not.
  if [[ -n ${TMPDIR:-} && ! -w $TMPDIR ]]; then
    say "TMPDIR=$TMPDIR cannot be written to here: taking /tmp"
    unset TMPDIR
  fi
  # The container that reads the site's file may itself need a module.
  export CLOUDMASK_MODULES=${CLOUDMASK_MODULES-$(environment::site_modules)}
  environment::modules
  for name in "${SITE_VARIABLES[@]}"; do
    if [[ -z ${!name+set} ]]; then
      environment::from_site
      break
    fi
  done
  for name in "${SITE_VARIABLES[@]}"; do
    if [[ $name != CLOUDMASK_LOCAL ]]; then
      environment::expand "${!name-}" || stop_with "$name=${!name}: \$$EXPAND_UNSET is not set"
      export "$name=$EXPANDED"
    fi
  done
  environment::choose_local
  mkdir -p "$CLOUDMASK_RUNS"
  ENVIRONMENT_BINDS=()
  environment::bind "$CLOUDMASK_RUNS"
  if [[ -n $CLOUDMASK_SCENES ]]; then
    environment::bind "$CLOUDMASK_SCENES"
  fi
  environment::bind "$(dirname "$CLOUDMASK_OVERLAY")"
  # Where the image lies if this is a link.
  environment::bind "$(dirname "$(realpath -m "$CLOUDMASK_OVERLAY")")"
  local place
  for place in "${ENVIRONMENT_LOCAL[@]}"; do
    environment::bind "$place"
  done
  say "job ${SLURM_JOB_ID:-without Slurm} on ${SLURMD_NODENAME:-$(hostname)}, image $CLOUDMASK_IMAGE"
}

# Run a cloudmask command in the image; it sees the working directory and all places of the job.
environment::run() {
  container::exec "$CLOUDMASK_IMAGE" "${ENVIRONMENT_BINDS[@]}" "$@"
}

environment::modules() {
  local file
  [[ -n ${CLOUDMASK_MODULES:-} ]] || return 0
  # The module command is a function that batch shells may lack, and not written for strict shells.
  set +eu
  if ! command -v module >/dev/null; then
    for file in /etc/profile.d/{lmod,z00_lmod,modules}.sh; do
      # shellcheck disable=SC1090 # the cluster's own
      [[ -r $file ]] && source "$file"
    done
  fi
  # shellcheck disable=SC2086 # several names
  module load $CLOUDMASK_MODULES
  set -eu
}

# The modules of the site's file: a list in brackets on one line.
environment::site_modules() {
  local file=${CLOUDMASK_SITE:-generic}
  [[ -f $file ]] || file=slurm/sites/$file.yaml
  [[ ! -f $file ]] || sed -n 's/^modules: *\[\(.*\)\].*/\1/p' "$file" | tr -d ",\"'"
}

# Set what is unset by the site's file; the image reads it, since the node may have no Python.
environment::from_site() {
  local -r site=${CLOUDMASK_SITE:-generic}
  local name value
  [[ -n ${CLOUDMASK_SITE:-} ]] || say "no site is named (CLOUDMASK_SITE): taking 'generic'"
  environment::expand "${CLOUDMASK_IMAGE:-cloudmask.sif}" || true
  local -r image=$EXPANDED
  while IFS='=' read -r name value; do
    export "$name=${!name-$value}"
  done < <(container::exec "$image" cloudmask-grid site "$site" || echo "CLOUDMASK_FAILED=$?")
  [[ -z ${CLOUDMASK_FAILED:-} ]] || exit "$CLOUDMASK_FAILED"
}

# Put the values of variables in for $NAME and ${NAME} of a text, as EXPANDED; nothing else in it is
# evaluated. Fails if one of them is not set, and says which: EXPAND_UNSET.
environment::expand() {
  local text=$1 name
  EXPANDED='' EXPAND_UNSET=''
  while [[ $text =~ ^([^$]*)\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?(.*)$ ]]; do
    EXPANDED+=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]} text=${BASH_REMATCH[3]}
    EXPANDED+=${!name-}
    [[ -n ${!name-} ]] || EXPAND_UNSET=$name
  done
  EXPANDED+=$text
  [[ -z $EXPAND_UNSET ]]
}

# The node-local directories that are there, as the array ENVIRONMENT_LOCAL; each other is named.
environment::choose_local() {
  local place
  ENVIRONMENT_LOCAL=()
  for place in ${CLOUDMASK_LOCAL:-}; do
    if ! environment::expand "$place"; then
      say "node-local $place: not set here"
    elif [[ -d $EXPANDED ]] || mkdir "$EXPANDED" 2>/dev/null; then
      ENVIRONMENT_LOCAL+=("$EXPANDED")
    else
      say "node-local $EXPANDED: not there"
    fi
  done
}

# Make a place outside the working directory visible in the container, if it is there: commands say
# better than runtimes what is missing.
environment::bind() {
  local path
  path=$(realpath -m "$1")
  case $path/ in
    "$PWD"/*) ;;
    *)
      # Twice the same makes the runtime warn.
      if [[ -e $path && " ${ENVIRONMENT_BINDS[*]-} " != *" $path "* ]]; then
        ENVIRONMENT_BINDS+=(--bind "$path")
      fi
      ;;
  esac
}

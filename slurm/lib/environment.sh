#!/usr/bin/env bash
# Where a job runs and what it works on. To be sourced.
#
# What may be set, by hand or by `cloudmask-grid submit --site S --gpu G`:
#   CLOUDMASK_SITE      site file or its name (generic); sets whatever of the following is unset, and is
#                       recorded with the run
#   CLOUDMASK_IMAGE     container image
#   CLOUDMASK_DEVICE    what the preflight insists on: gpu or cpu
#   CLOUDMASK_OVERLAY   overlay image on the shared file system, its manifest beside it
#   CLOUDMASK_SCENES    scenes to evaluate on; those in the overlay otherwise, if it has any
#   CLOUDMASK_LOCAL     node-local directories, the first that can be used is taken
#   CLOUDMASK_MODULES   modules to load
#   CLOUDMASK_CLEAR_CACHES   before a training: "store" drops the patches from the page cache, "none"
#                            does nothing, anything else is a command of the node for all its caches
#   CLOUDMASK_RUNS      where runs lie (runs)
# Variables of the job in these, such as $SLURM_TMPDIR, are put in.
#
# A site file is YAML and has one reader, `cloudmask-grid site`. `cloudmask-grid submit` and `chain` read
# it where the job is submitted and export its values, so that the job reads no file. A job that was
# submitted without them asks the reader in the container. What the container itself needs is known
# before: its image is CLOUDMASK_IMAGE or cloudmask.sif, and its runtime is on PATH, or comes with
# CLOUDMASK_MODULES or with a module of the runtime's own name.
#
# ENVIRONMENT_BINDS      options of container::exec that make the job's directories visible
# ENVIRONMENT_LOCAL      node-local directories that are there
# ENVIRONMENT_EXPANDED   what environment::expand made of its text
# ENVIRONMENT_UNSET      a variable in that text that is not set, else ""
set -euo pipefail

readonly ENVIRONMENT_SITE_VARIABLES=(CLOUDMASK_IMAGE CLOUDMASK_DEVICE CLOUDMASK_OVERLAY
  CLOUDMASK_SCENES CLOUDMASK_LOCAL CLOUDMASK_MODULES CLOUDMASK_CLEAR_CACHES)

ENVIRONMENT_BINDS=()
ENVIRONMENT_LOCAL=()
ENVIRONMENT_EXPANDED=
ENVIRONMENT_UNSET=

environment::load() {
  export USER=${USER:-$(id -un)} CLOUDMASK_RUNS=${CLOUDMASK_RUNS:-runs}
  [[ $PWD != *[,:]* ]] || signals::stop "$PWD: container runtimes take no comma or colon in a folder's name"
  # It is that of the machine where the job was submitted, as likely as not.
  if [[ -n ${TMPDIR:-} && ! -w $TMPDIR ]]; then
    log::info "TMPDIR=$TMPDIR cannot be written to here: taking /tmp"
    unset TMPDIR
  fi
  environment::load_modules "${CLOUDMASK_MODULES-}"
  environment::complete
  environment::expand_all
  environment::choose_local
  environment::bind_all
  log::info "job ${SLURM_JOB_ID:-without Slurm} on ${SLURMD_NODENAME:-$(hostname)}, image $CLOUDMASK_IMAGE"
}

# Run a cloudmask command in the image; it sees the working directory and the job's others.
environment::run() {
  container::exec "$CLOUDMASK_IMAGE" "${ENVIRONMENT_BINDS[@]}" "$@"
}

# Load modules, several names in one text.
environment::load_modules() {
  local file
  [[ -n $1 ]] || return 0
  # The module command is a function that batch shells may lack, and not written for strict shells.
  set +eu
  if ! command -v module >/dev/null; then
    for file in /etc/profile.d/{lmod,z00_lmod,modules}.sh; do
      # shellcheck disable=SC1090 # the cluster's own
      [[ -r $file ]] && source "$file"
    done
  fi
  # shellcheck disable=SC2086 # several names
  module load $1
  set -eu
}

# Set by the site's file what is not set yet; load its modules if that had not been done.
environment::complete() {
  local name modules=${CLOUDMASK_MODULES+known}
  for name in "${ENVIRONMENT_SITE_VARIABLES[@]}"; do
    if [[ -z ${!name+set} ]]; then
      environment::bring_runtime
      environment::read_site
      break
    fi
  done
  [[ -n $modules ]] || environment::load_modules "$CLOUDMASK_MODULES"
}

# A container runtime on PATH, if need be by the module of its name; if there is none, container::exec
# reports that.
environment::bring_runtime() {
  local name
  for name in ${CLOUDMASK_RUNTIME:-apptainer singularity}; do
    if container::runtime &>/dev/null; then
      return 0
    fi
    environment::load_modules "$name" 2>/dev/null
  done
}

# Set what is unset by the site's file, which the image reads, since the node may have no Python.
environment::read_site() {
  local -r site=${CLOUDMASK_SITE:-generic}
  local name value
  [[ -n ${CLOUDMASK_SITE:-} ]] || log::info "no site is named (CLOUDMASK_SITE): taking 'generic'"
  environment::expand "${CLOUDMASK_IMAGE:-cloudmask.sif}" || true
  local -r image=$ENVIRONMENT_EXPANDED
  while IFS='=' read -r name value; do
    export "$name=${!name-$value}"
  done < <(container::exec "$image" cloudmask-grid site "$site" || echo "CLOUDMASK_FAILED=$?")
  [[ -z ${CLOUDMASK_FAILED:-} ]] || exit "$CLOUDMASK_FAILED"
}

# Put the values of variables in for $NAME and ${NAME} of a text, as ENVIRONMENT_EXPANDED; nothing else
# in it is evaluated. Fails if one of them is not set, whose name is ENVIRONMENT_UNSET.
environment::expand() {
  local text=$1 name
  ENVIRONMENT_EXPANDED='' ENVIRONMENT_UNSET=''
  while [[ $text =~ ^([^$]*)\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?(.*)$ ]]; do
    ENVIRONMENT_EXPANDED+=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]} text=${BASH_REMATCH[3]}
    ENVIRONMENT_EXPANDED+=${!name-}
    [[ -n ${!name-} ]] || ENVIRONMENT_UNSET=$name
  done
  ENVIRONMENT_EXPANDED+=$text
  [[ -z $ENVIRONMENT_UNSET ]]
}

# Put variables into everything but CLOUDMASK_LOCAL, of which each directory is taken by itself.
environment::expand_all() {
  local name
  for name in "${ENVIRONMENT_SITE_VARIABLES[@]}"; do
    if [[ $name != CLOUDMASK_LOCAL ]]; then
      environment::expand "${!name-}" || signals::stop "$name=${!name}: \$$ENVIRONMENT_UNSET is not set"
      export "$name=$ENVIRONMENT_EXPANDED"
    fi
  done
}

# The node-local directories that are there, as the array ENVIRONMENT_LOCAL; each other is named.
environment::choose_local() {
  local directory
  ENVIRONMENT_LOCAL=()
  for directory in ${CLOUDMASK_LOCAL:-}; do
    if ! environment::expand "$directory"; then
      log::info "node-local $directory: not set here"
    elif [[ -d $ENVIRONMENT_EXPANDED ]] || mkdir "$ENVIRONMENT_EXPANDED" 2>/dev/null; then
      ENVIRONMENT_LOCAL+=("$ENVIRONMENT_EXPANDED")
    else
      log::info "node-local $ENVIRONMENT_EXPANDED: not there"
    fi
  done
}

# Everything that the job works on, as the array ENVIRONMENT_BINDS.
environment::bind_all() {
  local directory
  ENVIRONMENT_BINDS=()
  mkdir -p "$CLOUDMASK_RUNS"
  environment::bind "$CLOUDMASK_RUNS"
  if [[ -n $CLOUDMASK_SCENES ]]; then
    environment::bind "$CLOUDMASK_SCENES"
  fi
  environment::bind "$(dirname "$CLOUDMASK_OVERLAY")"
  # Where the image lies if this is a link.
  environment::bind "$(dirname "$(realpath -m "$CLOUDMASK_OVERLAY")")"
  for directory in "${ENVIRONMENT_LOCAL[@]}"; do
    environment::bind "$directory"
  done
  # The run keeps a copy of the site's file.
  if [[ -f ${CLOUDMASK_SITE:-} ]]; then
    environment::bind "$CLOUDMASK_SITE"
  fi
}

# Make a directory outside the working directory visible in the container, if it is there: commands
# explain better than runtimes what is missing.
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

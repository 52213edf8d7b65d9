#!/usr/bin/env bash
# Bring real Apptainer onto a Debian 12 machine, and an ordinary user to run it as. Does nothing
# where both are there. Needs root and apt. Debian 12 has no package; that of sid needs a newer
# glibc, which is put beside it in a folder of its own: the system's stays as it is.
set -euo pipefail

readonly PRIVATE=${APPTAINER_LIBRARIES:-/opt/apptainer-libraries}
readonly CI_USER=${CLOUDMASK_CI_USER:-cloudmask-ci}
readonly PACKAGES=(patchelf containernetworking-plugins squashfs-tools uidmap e2fsprogs squashfuse
  fuse2fs fuse-overlayfs fakeroot debootstrap)

log() { echo "apptainer.sh: $*" >&2; }

stop() {
  log "$@"
  exit 2
}

works() {
  command -v apptainer >/dev/null && apptainer --version >/dev/null 2>&1 \
    && id "$CI_USER" >/dev/null 2>&1 && [[ $(stat -c %a /dev/fuse) == 666 ]] \
    && runuser -u "$CI_USER" -- apptainer --version >/dev/null 2>&1
}

# The mirror that this machine's own apt uses for Debian itself.
mirror() {
  # shellcheck disable=SC2016 # apt's own variables, not the shell's
  apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' \
    | awk '$1 == "bookworm" { print $2; exit }'
}

# An apt of its own for another suite: lists, cache and sources lie below $1, none of the system's.
private_apt() {
  local -r folder=$1 suite=$2 address=$3
  mkdir -p "$folder"/{lists/partial,cache/archives/partial}
  : >"$folder/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $address $suite main" \
    >"$folder/sources.list"
  cat >"$folder/apt.conf" <<CONF
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
APT::Sandbox::User "root";
CONF
}

# Download packages of a suite into the folder $1/debs.
download() {
  local -r folder=$1 suite=$2 address=$3
  shift 3
  private_apt "$folder" "$suite" "$address"
  mkdir -p "$folder/debs"
  APT_CONFIG=$folder/apt.conf apt-get -qq update
  (cd "$folder/debs" && APT_CONFIG=$folder/apt.conf apt-get -qq download "$@")
}

install_apptainer() {
  local -r address=$(mirror) work=$(mktemp -d)
  [[ -n $address ]] || stop "no mirror of Debian 12 (bookworm) among this machine's apt sources"
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$work'" EXIT
  bash "${BASH_SOURCE[0]%/*}/apt.sh" "${PACKAGES[@]}"
  download "$work/sid" sid "$address" apptainer
  download "$work/trixie" trixie "$address" libc6 libseccomp2 libsqlite3-0

  rm -rf "$PRIVATE"
  mkdir -p "$PRIVATE" "$work/root"
  local package
  for package in "$work"/trixie/debs/*.deb; do
    dpkg -x "$package" "$work/root"
  done
  cp -a "$work"/root/usr/lib/x86_64-linux-gnu/*.so* "$PRIVATE/"
  dpkg -x "$work"/sid/debs/apptainer_*.deb /
  local binary
  for binary in /usr/bin/apptainer /usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
    patchelf --set-interpreter "$PRIVATE/ld-linux-x86-64.so.2" --force-rpath \
      --set-rpath "$PRIVATE" "$binary"
  done
}

# An ordinary user with a range of subordinate ids, which the runtime's fake root needs.
make_user() {
  id "$CI_USER" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$CI_USER"
  chmod 666 /dev/fuse
}

main() {
  [[ $(id -u) == 0 ]] || stop "needs root to install packages"
  [[ -r /etc/debian_version && $(dpkg --print-architecture) == amd64 ]] \
    || stop "needs Debian 12 on x86-64; elsewhere install Apptainer from its own packages"
  # Two test runs on one machine take turns.
  exec 9>/run/lock/cloudmask-apptainer.lock
  flock 9
  works && exit 0
  apptainer --version >/dev/null 2>&1 || install_apptainer
  make_user
  works || stop "installed, but $CI_USER cannot run it: $(apptainer --version 2>&1 | tail -1)"
  log "$(apptainer --version), run as $CI_USER"
}

main

#!/usr/bin/env bash
# Run a real sshd on loopback with keys and configuration of its own, never the machine's service.
# Brings openssh-server to Debian where it is missing, which needs root or sudo without a password.
#
#   sshd.sh start FOLDER   start it; FOLDER/config is for `ssh -F` and names the host `node`
#   sshd.sh stop FOLDER    end it
#
# Exit code 77: there is no sshd here and none can be brought.
set -euo pipefail

readonly CANNOT=77

stop_with() {
  echo "sshd.sh: $*" >&2
  exit 2
}

# Superuser's rights for one command.
as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

install_sshd() {
  [[ -x /usr/sbin/sshd ]] && command -v ssh >/dev/null && return
  if [[ ! -r /etc/debian_version ]] || ! as_root true 2>/dev/null; then
    echo "sshd.sh: no sshd here, and only root on Debian can bring one" >&2
    exit "$CANNOT"
  fi
  # The machine's own service does not start.
  bash "${BASH_SOURCE[0]%/*}/apt.sh" openssh-server openssh-client
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

configure() {
  local -r folder=$1 port=$2
  local name
  for name in host user; do
    [[ -e $folder/$name ]] || ssh-keygen -q -t ed25519 -N "" -f "$folder/$name"
  done
  cat >"$folder/sshd_config" <<CONF
Port $port
ListenAddress 127.0.0.1
HostKey $folder/host
AuthorizedKeysFile $folder/user.pub
PidFile $folder/pid
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
CONF
  cat >"$folder/config" <<CONF
Host node
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $folder/user
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile $folder/known
  LogLevel ERROR
CONF
}

start() {
  local -r folder=$1
  install_sshd
  install -d -m 700 "$folder"
  configure "$folder" "$(free_port)"
  # sshd of root gives its rights up in this empty folder, which its service would make.
  [[ $(id -u) != 0 ]] || install -d -m 755 /run/sshd
  /usr/sbin/sshd -f "$folder/sshd_config" -E "$folder/log"
  for _ in {1..100}; do
    ssh -F "$folder/config" -o BatchMode=yes node true 2>/dev/null && return
    sleep 0.1
  done
  cat "$folder/log" >&2
  stop_with "nobody can log in"
}

stop() {
  local -r file=$1/pid
  [[ -s $file ]] || return 0
  kill "$(<"$file")"
}

case ${1:-} in
  start) start "${2:?folder}" ;;
  stop) stop "${2:?folder}" ;;
  *) stop_with "expected start or stop" ;;
esac

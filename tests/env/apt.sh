#!/usr/bin/env bash
# Install Debian packages without starting their services. Test processes on one machine take turns.
#   apt.sh PACKAGE…
set -euo pipefail

readonly POLICY=/usr/sbin/policy-rc.d
as_root=()
[[ $(id -u) == 0 ]] || as_root=(sudo -n)

exec 8>>/run/lock/cloudmask-apt.lock
flock 8
if [[ ! -e $POLICY ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$POLICY" >/dev/null
  "${as_root[@]}" chmod 755 "$POLICY"
  trap '"${as_root[@]}" rm -f "$POLICY"' EXIT
fi
# Something else on the machine may be installing, too.
wait_for_others=(-o DPkg::Lock::Timeout=300)
"${as_root[@]}" apt-get -qq update "${wait_for_others[@]}"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install "${wait_for_others[@]}" \
  --yes --no-install-recommends "$@" >/dev/null

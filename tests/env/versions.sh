#!/usr/bin/env bash
# Run the unit and app tests on the oldest to the newest TensorFlow that the bundle supports: Keras 2
# (2.14, 2.15) and Keras 3 (2.17, newest), on Python 3.10 to 3.12 as far as they are at hand.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ENVIRONMENTS=${ENVIRONMENTS:-.venv-versions}
# TensorFlow, Python. 2.14 and 2.15 are those of the K80 and the default base image.
readonly VERSIONS=(2.14.1:3.10 2.15.1:3.11 2.17.1:3.12 newest:3.12)

# Path of an interpreter of the wanted version, from PATH or from pyenv.
find_python() {
  local -r version=$1
  local candidate
  for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
    if [[ $("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$version" ]]; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

test_version() {
  local -r tensorflow=$1 python=$2
  local -r venv=$ENVIRONMENTS/tf$tensorflow-py${python##*/}
  local package=tensorflow-cpu==$tensorflow
  [[ $tensorflow == newest ]] && package="tensorflow-cpu"
  if [[ ! -e $venv/done ]]; then
    "$3" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet "$package" -e 'app[test]'
    touch "$venv/done"
  fi
  "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/unit tests/app
}

failed=()
for entry in "${VERSIONS[@]}"; do
  tensorflow=${entry%:*} python=${entry#*:}
  if ! interpreter=$(find_python "$python"); then
    echo "== TensorFlow $tensorflow: SKIPPED, no Python $python on this machine"
    continue
  fi
  echo "== TensorFlow $tensorflow on $("$interpreter" --version)"
  test_version "$tensorflow" "$python" "$interpreter" || failed+=("$tensorflow")
done
if ((${#failed[@]})); then
  echo "failed on TensorFlow: ${failed[*]}" >&2
  exit 1
fi

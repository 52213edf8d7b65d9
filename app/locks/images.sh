#!/usr/bin/env bash
# Pin what an image adds to its base, for each Python that a base has; called by make locks.
# NumPy, h5py and TensorFlow are the base's: resolved against, never listed. SciPy and pandas are
# wanted by mlperf-logging for checks of submissions only, not for writing logs: 150 MB.
set -euo pipefail
cd "$(dirname "$0")"

readonly UV=${1:?path of uv}
readonly OPTIONS=("${@:2}") # of uv pip compile, such as --upgrade

compile() {
  "$UV" pip compile -q --generate-hashes --no-emit-index-url \
    --custom-compile-command 'make locks' --python-platform x86_64-manylinux_2_28 \
    ${OPTIONS[@]+"${OPTIONS[@]}"} "$@"
}

for version in 3.10 3.11 3.12; do
  name=py${version/./}
  compile --python-version "$version" -c "base-$name.in" \
    --no-emit-package numpy --no-emit-package h5py --no-emit-package scipy \
    --no-emit-package pandas --no-emit-package pytz --no-emit-package tzdata \
    --extra image ../pyproject.toml -o "image-$name.txt"
done

# What makes a plain Debian 12 a base.
echo tensorflow-cpu | compile --python-version 3.11 -c cpu.txt - -o base-cpu.txt

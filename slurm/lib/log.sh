#!/usr/bin/env bash
# What a job writes into its log. To be sourced.
set -euo pipefail

# A line with the time of day, to standard error: standard output belongs to results.
log::info() { printf '%(%H:%M:%S)T %s\n' -1 "$*" >&2; }

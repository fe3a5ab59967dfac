#!/usr/bin/env bash
# Measures how the cost of a push changes with gateways, accounts, fans and the size of the body, against three baselines
# in the same run. Compares with the last run of docs/bench-scale, and takes its place: commit it when the machine was quiet.
#   scripts/bench-scale.sh -scale-rate 1000 -scale-time 20s
#   scripts/bench-scale.sh -fans 50000     # a minute instead of six
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/bench-scale
go test -count=1 -timeout 30m -tags bench -run '^TestScale$' -v ./tests/bench -args -scale-dir "$PWD/docs/bench-scale" "$@"

#!/usr/bin/env bash
# Runs every fuzz target of the repository for the given time (default 60s), one after the other.
# scripts/fuzz.sh 10s [PACKAGE-PATTERN]
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
only=${2:-}
found=0
while IFS=: read -r file target; do
  pkg=./$(dirname "$file")
  [ -z "$only" ] || [[ $pkg == *$only* ]] || continue
  found=$((found + 1))
  printf '== %s %s (%s)\n' "$pkg" "$target" "$time"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
done < <(grep -rnoE '^func (Fuzz[A-Za-z0-9_]+)' --include='*_test.go' pkg services tests | sed -E 's/^([^:]+):[0-9]+:func /\1:/')
[ "$found" -gt 0 ] || { echo "no fuzz target matches '$only'" >&2; exit 1; }
echo "$found fuzz targets clean"

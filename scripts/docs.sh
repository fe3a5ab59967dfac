#!/usr/bin/env bash
# Writes the generated documents, or with --check fails when they are not what the code says.
set -euo pipefail
cd "$(dirname "$0")/.."
check=${1:-}
stale=0

put() { # FILE, content on stdin
  local new
  new=$(cat; printf x)
  new=${new%x}
  if [ "$check" = --check ]; then
    diff -u "$1" <(printf "%s" "$new") || stale=1
  else
    printf '%s' "$new" >"$1"
  fi
}

{
  printf '# Configuration\n\nGenerated from the code; do not edit. One YAML file serves every shape (ADR 0007): defaults, then the file, then the environment, then flags.\n'
  printf 'An unknown key is an error. Secrets are literals, `file:/path` or `env:NAME`. Check a file with `wxbus config check`; editors read `wxbus config schema`.\n\n'
  bin/wxbus docs configuration
} | put docs/configuration.md
bin/wxbus docs events | put docs/events.md
bin/wxbus docs permissions | put deploy/k8s/platform/nats/users.conf
{
  printf '# Generated from deploy/observability/rules.yaml; do not edit.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: wxbus\nspec:\n'
  sed 's/^\(.\)/  \1/' deploy/observability/rules.yaml
} | put deploy/k8s/components/monitoring/rules.yaml
put deploy/k8s/components/otel-collector/pipeline.yaml <deploy/observability/otel-collector.yaml
{
  printf '# Decisions\n\nOne page each; the newest may replace an older one.\n\n| | decision | status |\n|---|---|---|\n'
  for f in docs/adr/[0-9]*.md; do
    n=$(basename "$f")
    [ "$n" != 0000-template.md ] || continue
    title=$(head -1 "$f" | sed 's/^# [0-9]*: //')
    status=$(sed -n 's/^| Status | \(.*\) |$/\1/p' "$f")
    printf '| %s | [%s](%s) | %s |\n' "${n%%-*}" "$title" "$n" "$status"
  done
} | put docs/adr/README.md

if [ "$stale" != 0 ]; then
  echo "generated documents are stale: run make docs" >&2
  exit 1
fi

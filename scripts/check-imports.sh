#!/usr/bin/env bash
# Checks the borders that the compiler does not: services know each other only by protos, the
# simulator shares no code with what it judges, and only a few places embed a NATS server.
set -euo pipefail
cd "$(dirname "$0")/.."
root=github.com/wxbus/wxbus
failed=0

# deny FROM-PATTERN IMPORT-REGEX WHY [GO-LIST-FLAGS...]
deny() {
  local from=$1 banned=$2 why=$3
  shift 3
  local hits
  hits=$(go list "$@" -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}{{range .TestImports}}{{$p}} {{.}}{{"\n"}}{{end}}{{range .XTestImports}}{{$p}} {{.}}{{"\n"}}{{end}}' "$from" |
    grep -E " $banned" | sort -u || true)
  if [ -n "$hits" ]; then
    printf '%s\n%s\n' "not allowed: $why" "$hits" >&2
    failed=1
  fi
}

services=(gateway rule token sender agent-routing console simulator)
for s in "${services[@]}"; do
  for other in "${services[@]}"; do
    [ "$s" = "$other" ] || deny "./services/$s/..." "$root/services/$other" "services talk by events and gRPC, never by Go call"
  done
done
deny ./services/simulator/... "$root/pkg/(wechat|content|decision|tokens|bus|topology)( |/|$)" \
  "the simulator judges this code, so it must not share it"
deny ./pkg/wechat/... "(google.golang.org/protobuf|github.com/nats-io)" "pkg/wechat is the wire protocol only"

embed=$(go list -deps -f '{{.ImportPath}}' ./services/gateway/cmd/... ./services/rule/cmd/... ./services/token/cmd/... \
  ./services/sender/cmd/... ./services/agent-routing/cmd/... ./services/console/cmd/... | grep -c '^github.com/nats-io/nats-server' || true)
if [ "$embed" != 0 ]; then
  echo "not allowed: a service binary links nats-server; only the all-in-one may" >&2
  failed=1
fi
exit $failed

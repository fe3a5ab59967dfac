#!/usr/bin/env bash
# Measures the budgets of the design and prints them as one table. Needs the binaries of make build, about
# ten minutes, and a machine that does nothing else.
#   scripts/bench.sh                   everything
#   scripts/bench.sh -profile cpu.out  also a CPU profile of the gateway, for go tool pprof
#   scripts/bench.sh -load 120s        longer measurements under load (default 30s)
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# go test runs in the folder of the package: a relative file would end up there.
if [ "${1:-}" = -profile ]; then set -- -profile "$(realpath -m "$2")" "${@:3}"; fi

go=(go test -count=1 -timeout 30m)
run() { # NAME, arguments of go test
  printf '== %s (%s)\n' "$1" "$(date +%T)" >&2
  shift
  "${go[@]}" "$@" | tee -a "$out/benchmarks.txt" >&2
}
run "codec path of the gateway" -run '^$' -bench '^BenchmarkCodecPath$' -count=5 ./services/gateway/internal/push
run "match of rules" -run '^$' -bench '^BenchmarkMatch$' -count=5 ./services/rule/internal/match
run "reload of rules" -run '^$' -bench '^BenchmarkReload100k$' -count=5 ./services/rule/internal/ruleset
run "token lookup" -run '^$' -bench '^BenchmarkCurrent$' -count=5 ./pkg/tokens
run "callers with a dead token" -run '^TestTenThousandCallersWithADeadTokenMakeOneRefresh$' -v ./services/token
run "search over ${SEARCH_MESSAGES:-1000000} messages" -run '^$' -bench '^BenchmarkSearch$' -benchtime=10x -v ./services/agent-routing/internal/store
run "campaign, killed twice" -timeout 60m -run '^TestACampaignSurvivesKills$' -v ./tests/soak -args -mode=all \
  -recipients="${CAMPAIGN_RECIPIENTS:-100000}" -campaign-rate="${CAMPAIGN_RATE:-400}"

printf '== processes (%s)\n' "$(date +%T)" >&2
"${go[@]}" -tags bench -run '^TestBudgets$' ./tests/bench -args -benchmarks "$out/benchmarks.txt" -table "$out/table.md" "$@" >&2
cat "$out/table.md"

#!/usr/bin/env bash
# Lists the modules of the workspace in dependency order, or writes the in-repo require and replace
# lines of a new one:
#   scripts/modules.sh
#   scripts/modules.sh add services/new pkg proto
set -euo pipefail
cd "$(dirname "$0")/.."

modules=(proto pkg services/gateway services/rule services/token services/sender services/agent-routing
  services/console services/simulator services/allinone tests)

if [ $# -eq 0 ]; then
  printf '%s\n' "${modules[@]}"
  exit 0
fi
[ "$1" = add ] && [ $# -ge 3 ] || { echo "usage: scripts/modules.sh [add DIR MODULE...]" >&2; exit 2; }
dir=$2
shift 2
mkdir -p "$dir"
root=github.com/wxbus/wxbus
up=$(sed 's|[^/]*|..|g' <<<"$dir")
[ -f "$dir/go.mod" ] || printf 'module %s/%s\n\ngo 1.26.0\n' "$root" "$dir" >"$dir/go.mod"
for m in "$@"; do
  (cd "$dir" && go mod edit -require="$root/$m@v0.0.0" -replace="$root/$m=$up/$m")
done
go work use "./$dir"

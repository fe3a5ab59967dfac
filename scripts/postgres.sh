#!/usr/bin/env bash
# Installs Debian's Postgres for the tests when no initdb is there. No server is set up or started: the tests
# start their own, on a free port of loopback.
set -euo pipefail
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
command -v initdb >/dev/null && exit 0
"$(dirname "$0")/debian.sh" --before "mkdir -p /etc/postgresql-common
  [ -f /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf" postgresql

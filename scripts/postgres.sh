#!/usr/bin/env bash
# Installs Debian's Postgres for the tests when no initdb is there. No server is set up or started: the tests
# start their own, on a free port of loopback.
set -euo pipefail
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
command -v initdb >/dev/null && exit 0
[ "$(id -u)" = 0 ] && sudo="" || sudo=sudo
$sudo mkdir -p /etc/postgresql-common
[ -f /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
$sudo apt-get update -q
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends postgresql

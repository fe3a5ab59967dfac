#!/usr/bin/env bash
# Installs Debian's ffmpeg when there is none: the desk makes voices playable in browsers with it.
set -euo pipefail
command -v ffmpeg >/dev/null && exit 0
[ "$(id -u)" = 0 ] && sudo="" || sudo=sudo
$sudo apt-get update -q
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends ffmpeg

#!/usr/bin/env bash
# Installs Debian's ffmpeg when there is none: the desk makes voices playable in browsers with it.
set -euo pipefail
command -v ffmpeg >/dev/null && exit 0
"$(dirname "$0")/debian.sh" ffmpeg

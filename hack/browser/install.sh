#!/usr/bin/env bash
# Installs Chromium from Debian's packages, where it is missing and that can be
# done. Elsewhere the tests say what they lack.
set -euo pipefail
if [ -n "${CHROMIUM:-}" ] || command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  exit 0
fi
echo 'browser: installing chromium' >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium >/dev/null

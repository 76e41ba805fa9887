#!/usr/bin/env bash
# Installs what the page needs to be made and to be looked at, Chromium and
# Node.js, from Debian's packages, where it is missing and that can be done.
# Elsewhere the build and the tests say what they lack.
set -euo pipefail
has() { command -v "$@" >/dev/null; }
missing=()
if [ -z "${CHROMIUM:-}" ] && ! has chromium chromium-browser google-chrome google-chrome-stable; then missing+=(chromium); fi
if ! has node; then missing+=(nodejs); fi
if ! has npm; then missing+=(npm); fi
if [ ${#missing[@]} = 0 ] || [ "$(id -u)" != 0 ] || ! has apt-get; then
  exit 0
fi
echo "browser: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

#!/usr/bin/env bash
# Makes the page that people publish and watch on, from the packages that
# package-lock.json pins, where the Go build embeds it:
# cmd/moq/internal/demo/dist. Does nothing when the page is newer than all that
# it is made of. Needs Node.js 20.19 or later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
built=../../cmd/moq/internal/demo/dist/index.html
installed=node_modules/.package-lock.json

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo 'page: this needs Node.js 20.19 or later with npm, which is not here: https://nodejs.org, or your package manager' >&2
  exit 1
fi
if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; then
  echo "page: this needs Node.js 20.19 or later, and here is $(node --version)" >&2
  exit 1
fi

if [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  touch "$installed"
fi
if [ -e "$built" ] && [ -z "$(find . -name node_modules -prune -o -type f -newer "$built" -print -quit)" ]; then
  exit 0
fi
npm run --silent check
npm run --silent build -- --logLevel warn
printf 'page: %s\n' "$(find "${built%/*}" -name '*.js' -exec gzip -9c {} + | wc -c | awk '{printf "%d kB of scripts, compressed", $1 / 1000}')"

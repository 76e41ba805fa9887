#!/usr/bin/env bash
# Builds the relays and clients of the MoqTransfork and moq-lite families, as
# their authors released them, with cargo: all of them, or those named as
# arguments, e.g. moq-relay-0.6.8. Each goes to
# $MOQ_PEERS_DIR/NAME-VERSION/bin; what is there already is left alone. About
# 45 minutes on 2 cores, 3 GB while building. Needs cargo 1.95, a C compiler,
# cmake, perl and pkg-config.
set -euo pipefail
export MOQ_PEERS_DIR=${MOQ_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/peers}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$MOQ_PEERS_DIR/.target}

peers=("$@")
if [ $# -eq 0 ]; then
  peers=(moq-relay-0.6.8 moq-relay-0.6.19 moq-clock-0.5.12 moq-karp-0.7.1
    moq-relay-0.17.10 moq-cli-0.14.10 moq-clock-0.10.21)
fi
for peer in "${peers[@]}"; do
  name=${peer%-*}
  root=$MOQ_PEERS_DIR/$peer
  lock=(--locked)
  case $peer in
    moq-relay-0.17.* | moq-cli-0.14.*) lock=() ;; # its lock file names a version that was withdrawn
  esac
  if [ -n "$(ls "$root/bin" 2>/dev/null)" ]; then
    echo "$peer is there"
    continue
  fi
  if ! command -v cargo >/dev/null; then
    echo "peers: $peer needs cargo, which is not here; https://rustup.rs installs it" >&2
    exit 1
  fi
  echo "$peer: building"
  cargo install --quiet "${lock[@]}" --root "$root" "$name" --version "${peer##*-}"
done
echo "peers are in $MOQ_PEERS_DIR"

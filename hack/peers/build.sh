#!/usr/bin/env bash
# Builds the relays and clients of the MoqTransfork family, as their authors
# released them, with cargo: all of them, or those named as arguments, e.g.
# moq-relay-0.6.8. Each goes to $MOQ_PEERS_DIR/NAME-VERSION/bin/NAME; what is
# there already is left alone. About 14 minutes on 2 cores, 2 GB while building.
# Needs cargo 1.95, a C compiler, cmake, perl and pkg-config.
set -euo pipefail
export MOQ_PEERS_DIR=${MOQ_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/peers}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$MOQ_PEERS_DIR/.target}

peers=("$@")
if [ $# -eq 0 ]; then
  peers=(moq-relay-0.6.8 moq-relay-0.6.19 moq-clock-0.5.12 moq-karp-0.7.1)
fi
for peer in "${peers[@]}"; do
  name=${peer%-*}
  root=$MOQ_PEERS_DIR/$peer
  if [ -x "$root/bin/$name" ]; then
    echo "$peer is there"
    continue
  fi
  if ! command -v cargo >/dev/null; then
    echo "peers: $peer needs cargo, which is not here; https://rustup.rs installs it" >&2
    exit 1
  fi
  echo "$peer: building"
  cargo install --quiet --locked --root "$root" "$name" --version "${peer##*-}"
done
echo "peers are in $MOQ_PEERS_DIR"

# Sourced, never run: finds a cargo that is new enough, wherever it was installed.
# shellcheck shell=bash

# rustup puts its programs here, and a shell opened before the installation doesn't know it yet.
[[ -d ${CARGO_HOME:-${HOME:-}/.cargo}/bin ]] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH

# The oldest Rust that builds the workspace, from the one place that states it.
# shellcheck disable=SC2154 # root is the repository, set by every script before it sources this
rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"; }

# rust_is_ready: cargo, rustfmt and clippy run, and the compiler is new enough.
rust_is_ready() {
    local have
    have=$(rustc --version 2>/dev/null | awk '{ print $2 }') && [[ -n $have ]] || return 1
    [[ $(printf '%s\n' "$(rust_wanted)" "$have" | sort -V | head -n 1) == "$(rust_wanted)" ]] || return 1
    cargo --version && cargo fmt --version && cargo clippy --version
} >/dev/null 2>&1

# Sourced, never run: whatever a script starts or makes is undone on every way out (end, error, Ctrl-C, TERM, HUP).
# shellcheck shell=bash

declare -a _undo=()

# at_exit COMMAND [ARG...]: runs at the end; the last one registered runs first.
at_exit() { _undo+=("$(printf '%q ' "$@")"); }

_undo_all() {
    local status=$? i
    trap - EXIT
    trap '' INT TERM HUP # a second Ctrl-C must not leave half of it behind
    for ((i = ${#_undo[@]} - 1; i >= 0; i--)); do eval "${_undo[i]}" || true; done
    exit "$status"
}
trap _undo_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# stop PID [SIGNAL [SECONDS]]: ends one process that we started: politely (INT by default), after ten seconds by KILL (`syncline
# serve` may take eight: five for connections at work, one for resets, two to drain). Returns the status with which it ended, 0
# when it was gone already.
stop() {
    local pid=$1 signal=${2:-INT} patience_s=${3:-10}
    kill -s "$signal" "$pid" 2>/dev/null || return 0
    wait_until "$patience_s" is_gone "$pid" || kill -s KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

# wait_until SECONDS COMMAND [ARG...]: tries it ten times a second; fails when it never succeeds.
wait_until() {
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        ((tries-- > 0)) || return 1
        sleep 0.1
    done
}

# attend PROGRAM [ARG...]: runs it to its end and returns its status. Unlike a plain foreground command, a signal to this
# script is acted on at once, not after the program has ended, and ends the program too.
attend() {
    local pid status=0
    "$@" <&0 &
    pid=$!
    at_exit stop "$pid" TERM
    wait "$pid" || status=$?
    unset '_undo[-1]'
    return "$status"
}

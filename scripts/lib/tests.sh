#!/usr/bin/env bash
# scripts/lib/tests.sh: what the sourced parts promise, above all that nothing is left behind. Run by scripts/test.
set -euo pipefail
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect WHAT WANTED GOT
expect() {
    [[ $2 == "$3" ]] && return
    printf 'FAILED: %s\n  wanted: %q\n  got:    %q\n' "$@" >&2
    exit 1
}

# script TEXT: a script with the library loaded, written to $work/script.
script() { printf '#!/usr/bin/env bash\nset -euo pipefail\nsource %q/say.sh\nsource %q/cleanup.sh\n%s\n' "$lib" "$lib" "$1" >"$work/script"; }

script 'at_exit echo "first made"; at_exit echo "made last"; false'
status=0
got=$(bash "$work/script") || status=$?
expect "what was made last is undone first, after an error too" $'made last\nfirst made 1' "$got $status"

for signal in TERM HUP; do
    # shellcheck disable=SC2016 # expanded by the script
    script 'at_exit touch "$0.undone"; attend bash -c '\''echo "$$" >"$0.child"; exec sleep 30'\'' "$0"'
    rm -f "$work/script.undone" "$work/script.child"
    bash "$work/script" &
    pid=$!
    until [[ -s $work/script.child ]]; do sleep 0.1; done
    child=$(<"$work/script.child")
    SECONDS=0
    kill -s "$signal" "$pid"
    status=0
    wait "$pid" || status=$?
    expect "$signal ends the script with its own status" "$((128 + $(kill -l "$signal")))" "$status"
    expect "$signal is acted on at once" true "$( ((SECONDS < 10)) && echo true)"
    expect "$signal undoes what was made" yes "$([[ -e $work/script.undone ]] && echo yes)"
    expect "$signal ends the attended program" gone "$(kill -0 "$child" 2>/dev/null || echo gone)"
done

script 'attend bash -c "exit 7"'
status=0
bash "$work/script" || status=$?
expect "attend hands the status on" 7 "$status"

script 'wait_until 1 false || echo "gave up"; wait_until 1 true && echo "came"'
expect "wait_until ends either way" $'gave up\ncame' "$(bash "$work/script")"

script 'print_table <<<$'\''a\tb\nlonger\tc'\'''
expect "a table is aligned" $'  a       b\n  ------  -\n  longer  c' "$(bash "$work/script")"

script 'die "the cause" "the fix"'
expect "an error names cause and fix" $'error: the cause\n       the fix' "$(bash "$work/script" 2>&1 || true)"

# compared RST SYN: the rows of the instruction gate that aren't "ok", and its status, against a record of 200 and 400.
compared() {
    printf '{"rustc":"rustc 1","rustflags":"-C a","tolerance_percent":2,"instructions_per_packet":{"rst":200,"syn":400}}' >"$work/recorded"
    printf '{"instructions_per_packet":{"rst":%s,"syn":%s}}' "$1" "$2" >"$work/measured"
    # shellcheck disable=SC2016 # expanded by the script
    script 'source "$1/instructions.sh"; compare_instructions "$2/recorded" "$2/measured" && echo passes || echo fails'
    bash "$work/script" "$lib" "$work" | grep -vE $'scenario\t|\tok$'
}
expect "instructions within the tolerance pass" passes "$(compared 204 392)"
expect "more instructions fail" $'rst\t200\t204.2\t+2.1 %\tMORE\nfails' "$(compared 204.2 400)"
expect "fewer instructions want to be recorded" $'syn\t400\t391\t-2.25 %\tFEWER\nfails' "$(compared 200 391)"
expect "a scenario that wasn't counted fails" $'syn\t400\tnone\t\tMISSING\nfails' "$(compared 200 null)"

# shellcheck disable=SC2016 # expanded by the script
script 'source "$1/instructions.sh"; instructions_comparable "$2/recorded" "rustc 1" "$3" && echo comparable || true'
expect "the same compiler compares" comparable "$(bash "$work/script" "$lib" "$work" "-C a")"
expect "other flags don't" 'recorded with the flags "-C a", these are "-C b": not comparable' "$(bash "$work/script" "$lib" "$work" "-C b")"

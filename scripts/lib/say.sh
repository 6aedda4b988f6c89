# Sourced, never run: how the scripts speak. Results go to stdout, everything about the run itself to stderr.
# shellcheck shell=bash

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
    _bold=$'\e[1m' _red=$'\e[31m' _yellow=$'\e[33m' _plain=$'\e[0m'
else
    _bold='' _red='' _yellow='' _plain=''
fi

# step TEXT: the heading of what runs next.
step() { printf '\n%s==> %s%s\n' "$_bold" "$*" "$_plain" >&2; }

# say TEXT: one line of explanation.
say() { printf '    %s\n' "$*" >&2; }

# skipped WHAT: something was left out, and the reader must see it, and why.
skipped() { printf '%s    SKIPPED %s%s\n' "$_yellow" "$*" "$_plain" >&2; }

# die CAUSE [FIX...]: the one clear error. Every FIX stands on a line of its own.
die() {
    printf '%serror: %s%s\n' "$_red" "$1" "$_plain" >&2
    shift
    (($# == 0)) || printf '       %s\n' "$@" >&2
    exit 1
}

# usage: prints the comment block at the head of the calling script, which is its documentation.
usage() { awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"; }

# print_table: rows of tab-separated cells on stdin become an aligned table; the first row is the heading.
print_table() {
    awk -F '\t' '
        { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } if (NF > columns) columns = NF }
        END {
            for (row = 1; row <= NR; row++) {
                line = " "
                for (i = 1; i <= columns; i++) line = line sprintf(" %-*s ", width[i], cell[row, i])
                sub(/ +$/, "", line); print line
                if (row == 1) { rule = " "; for (i = 1; i <= columns; i++) { dash = sprintf("%*s", width[i], ""); gsub(/ /, "-", dash); rule = rule " " dash " " } sub(/ +$/, "", rule); print rule }
            }
        }'
}

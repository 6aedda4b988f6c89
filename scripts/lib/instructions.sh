# Sourced, never run: how the instruction gate compares what it counted with what was recorded.
# shellcheck shell=bash

# instructions_comparable RECORDED TOOLCHAIN FLAGS: whether the record was made with this compiler and these flags. Other
# code generation gives other counts, and they say nothing about our change. Prints the reason when not.
instructions_comparable() {
    local recorded_toolchain recorded_flags
    recorded_toolchain=$(jq -r .rustc "$1")
    recorded_flags=$(jq -r .rustflags "$1")
    if [[ $recorded_toolchain != "$2" ]]; then
        printf 'recorded with %s, this is %s: not comparable\n' "$recorded_toolchain" "$2"
        return 1
    fi
    if [[ $recorded_flags != "$3" ]]; then
        printf 'recorded with the flags "%s", these are "%s": not comparable\n' "$recorded_flags" "$3"
        return 1
    fi
}

# compare_instructions RECORDED MEASURED: one tab-separated row per scenario, with a heading. Fails when one of them is
# further from its record than the record's own tolerance, in either direction, or stands in only one of the two files.
compare_instructions() {
    local rows
    rows=$(jq -r -n --slurpfile recorded "$1" --slurpfile measured "$2" '
        def digits: . * 100 | round / 100;
        $recorded[0].instructions_per_packet as $old | $measured[0].instructions_per_packet as $new
        | $recorded[0].tolerance_percent as $tolerance
        | ["scenario", "recorded", "now", "change", ""],
          (($old + $new | keys[]) as $name
           | if $old[$name] == null or $new[$name] == null then [$name, $old[$name] // "none", $new[$name] // "none", "", "MISSING"]
             else ($new[$name] / $old[$name] * 100 - 100) as $change
             | [$name, $old[$name], $new[$name], "\(if $change > 0 then "+" else "" end)\($change | digits) %",
                (if $change > $tolerance then "MORE" elif -$change > $tolerance then "FEWER" else "ok" end)]
             end)
        | @tsv')
    printf '%s\n' "$rows"
    ! grep -qE $'\t(MISSING|MORE|FEWER)$' <<<"$rows"
}

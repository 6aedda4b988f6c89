# shellcheck shell=bash
# shellcheck disable=SC2154 # what scripts/bench sets: see below
# For scripts/bench: `syncline flood` and DPDK's own generator, testpmd flowgen, into the same sink, in turning order.
#
# It must never compare frames of different lengths, or bursts of different sizes. What it needs of scripts/bench: root, work,
# socket, options, cpus, server_cpu, syncline, seconds, rounds, json, broken, is_forwarding, forwards_or_gone.

# Bytes of a bare SYN over IPv4, without FCS, and frames of a burst.
readonly frame_bytes=60 burst_frames=64
# Of flowgen's rate, at least.
readonly flood_wanted=0.95

# start_testpmd FILE CPU PREFIX ROLE ARG...: testpmd on the link; its pid in $testpmd.
start_testpmd() {
    local file=$1 cpu=$2 prefix=$3 role=$4
    shift 4
    # There before it is looked into: on a busy machine the process in the background makes it late.
    : >"$file"
    stdbuf -oL dpdk-testpmd "--lcores=0@$cpu,1@$cpu" --no-huge -m 256 --no-pci --no-telemetry \
        "--file-prefix=syncline-bench-$$-$prefix" "--vdev=net_memif0,role=$role,socket=$socket,socket-abstract=no,$options" \
        -- --auto-start "--burst=$burst_frames" --nb-cores=1 --rxd=1024 --txd=1024 --total-num-mbufs=16384 "$@" \
        >"$file" 2>&1 </dev/null &
    testpmd=$!
    at_exit stop "$testpmd"
    wait_until 30 forwards_or_gone "$file" "$testpmd" || true
    is_forwarding "$file" || broken "dpdk-testpmd did not start" "$file"
}

# has_rates FILE: as many rates as seconds, and one of warm-up.
has_rates() { (($(grep -c 'Tx-pps: *[1-9]' "$1" || true) > seconds)); }

# into_sink FILE NAME: the generator NAME into testpmd rxonly; frames a second that it sent, into FILE.
into_sink() {
    local file=$1 sink client status=0
    rm -f "$socket"
    start_testpmd "$file.sink" "$server_cpu" sink server --forward-mode=rxonly --stats-period=3600
    sink=$testpmd
    if [[ $2 == flowgen ]]; then
        start_testpmd "$file.flowgen" "${cpus%,*}" flowgen client --forward-mode=flowgen "--txpkts=$frame_bytes" --stats-period=1
        # testpmd's printing thread shares a CPU with its polling one, so a line may take longer than a second.
        wait_until "$((4 * seconds + 20))" has_rates "$file.flowgen" || true
        # The sink leaves the link first: a poller whose peer vanishes reads unmapped memory.
        stop "$sink" || true
        stop "$testpmd" || true
        # The first rate is warm-up.
        sed -n 's/.*Tx-pps: *\([1-9][0-9]*\).*/\1/p' "$file.flowgen" | sed 1d | sort -n | awk '{ rate[NR] = $1 }
            END { print NR ? rate[int((NR + 1) / 2)] : 0 }' >"$file"
        (($(<"$file") > 0)) || broken "testpmd flowgen sent nothing" "$file.flowgen"
        unset '_undo[-1]' '_undo[-1]'
    else
        "$syncline" flood 198.18.0.2:80 --nic "memif:$socket,$options" --cpus "${cpus%,*}" --ip 198.19.255.254/32 \
            --target-mac 02:00:00:00:00:02 --sources 198.18.64.0/18 --syn-options bare -d "$((seconds + 1))s" --wait 0 --json \
            --eal=--no-huge --eal=-m --eal=256 >"$file.json" 2>"$file.log" &
        client=$!
        at_exit stop "$client" TERM
        wait_until "$((seconds + 30))" has_result_or_gone "$file.json" "$client" || true
        stop "$sink" || true
        wait "$client" || status=$?
        unset '_undo[-1]' '_undo[-1]'
        ((status == 0)) || broken "syncline flood failed" "$file.log"
        # As for flowgen: the first second is warm-up.
        jq '[.intervals[1:][].sent_pps] | sort | .[(length - 1) / 2 | floor]' "$file.json" >"$file"
    fi
    say "$2: $(awk '{ printf "%.3f Mpps", $1 / 1e6 }' "$file")"
}

bench_flood() {
    local round what order=(flowgen flood) result
    step "flood into a sink over memif ($options), $frame_bytes-byte frames in bursts of $burst_frames: $rounds rounds of ${order[*]}, $seconds s each"
    for ((round = 1; round <= rounds; round++)); do
        say "round $round"
        for what in "${order[@]}"; do into_sink "$work/$round.$what" "$what"; done
        order=("${order[@]:1}" "${order[0]}")
        jq -n --slurpfile flowgen "$work/$round.flowgen" --slurpfile flood "$work/$round.flood" \
            '{ flowgen_pps: $flowgen[0], flood_pps: $flood[0], ratio: ($flood[0] / $flowgen[0]) }'
    done >"$work/rounds"
    result=$(jq -L "$root/scripts/lib" -s --argjson wanted "$flood_wanted" --arg link "memif $options, two processes, no NIC" --argjson bytes "$frame_bytes" '
        include "rounds";
        { mode: "flood", link: $link, frame_bytes: $bytes } + verdict($wanted) + {
            flowgen_pps: (all("flowgen_pps") | median), flood_pps: (all("flood_pps") | median),
            spread: { ratio: spread("ratio"), flowgen_pps: spread("flowgen_pps"), flood_pps: spread("flood_pps") }, rounds: . }' "$work/rounds")
    if $json; then
        printf '%s\n' "$result"
    else
        jq -L "$root/scripts/lib" -r 'include "rounds";
            (["What", "Median of \(.rounds | length)", "Spread"] | @tsv),
            line("testpmd flowgen"; .flowgen_pps | millions; .spread.flowgen_pps | map(millions); " Mpps"),
            line("syncline flood"; .flood_pps | millions; .spread.flood_pps | map(millions); " Mpps"),
            line("ratio"; .ratio; .spread.ratio | map(digits); "")' <<<"$result" | print_table
    fi
    [[ $(jq -r .verdict <<<"$result") == reached ]] \
        || die "flood is below $flood_wanted of flowgen" "try it on an idle machine"
}

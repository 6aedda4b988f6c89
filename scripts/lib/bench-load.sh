# shellcheck shell=bash
# shellcheck disable=SC2154 # what scripts/bench sets: see below
# For scripts/bench: `syncline load` against `syncline serve` beside `syncline bench connect`, in turning order.
#
# It must never compare runs that failed. What it needs of scripts/bench: work, socket, options, cpus, server_cpu, syncline, seconds,
# rounds, json, pages, broken, generate.

# Of the connections of `bench connect`, at least.
readonly load_wanted=0.95

# loaded FILE ARG...: `syncline load` with these flags against `syncline serve`; operations a second into FILE.
loaded() {
    local file=$1 server status=0
    shift
    rm -f "$socket"
    "$syncline" serve --nic "memif:$socket,server,$options" --ip 198.18.0.2/15 --listen 80=http,size=64 --cpus "$server_cpu" \
        --eal=--no-huge --eal=-m --eal=1024 >"$file.serve" 2>&1 &
    server=$!
    at_exit stop "$server"
    wait_until 30 test -S "$socket" || broken "syncline serve did not start" "$file.serve"
    # Sources enough for 2 MSL at any rate that one core reaches.
    attend "$syncline" load http://198.18.0.2/ --nic "memif:$socket,$options" --ip 198.18.0.1/15 --sources 198.18.64.0/22 \
        --cpus "${cpus%,*}" -c 256 -d "${seconds}s" --time-wait 1s --json --eal=--no-huge --eal=-m --eal=1024 "$@" \
        >"$file.json" 2>"$file.log" || status=$?
    stop "$server" || true
    unset '_undo[-1]'
    ((status == 0)) || broken "syncline load failed" "$file.log"
    jq '.operations.completed_per_s' "$file.json" >"$file"
}

measure_load() {
    local round=$1 what=$2
    local file=$work/$round.$what
    case $what in
        bench)
            attend generate "$file.json" connect || broken "syncline bench connect failed" "$file.json.log"
            jq .rate_cps "$file.json" >"$file"
            ;;
        connect) loaded "$file" --workload connect ;;
        request) loaded "$file" --workload request ;;
    esac
    say "$what: $(awk '{ printf "%.3f M/s", $1 / 1e6 }' "$file")"
}

bench_load() {
    local round what order=(bench connect request) result
    step "load against serve over memif ($options): $rounds rounds of ${order[*]}, $seconds s each"
    for ((round = 1; round <= rounds; round++)); do
        say "round $round"
        for what in "${order[@]}"; do measure_load "$round" "$what"; done
        order=("${order[@]:1}" "${order[0]}")
        jq -n --slurpfile bench "$work/$round.bench" --slurpfile connect "$work/$round.connect" --slurpfile request "$work/$round.request" \
            '{ bench_cps: $bench[0], load_cps: $connect[0], load_rps: $request[0], ratio: ($connect[0] / $bench[0]) }'
    done >"$work/rounds"
    result=$(jq -L "$root/scripts/lib" -s --argjson wanted "$load_wanted" --arg link "memif $options, two processes, no NIC" '
        include "rounds";
        { mode: "load", link: $link } + verdict($wanted) + {
            bench_cps: (all("bench_cps") | median), load_cps: (all("load_cps") | median), load_rps: (all("load_rps") | median),
            spread: { ratio: spread("ratio"), bench_cps: spread("bench_cps"), load_cps: spread("load_cps"), load_rps: spread("load_rps") },
            rounds: . }' "$work/rounds")
    if $json; then
        printf '%s\n' "$result"
    else
        jq -L "$root/scripts/lib" -r 'include "rounds";
            (["What", "Median of \(.rounds | length)", "Spread"] | @tsv),
            line("bench connect"; .bench_cps | millions; .spread.bench_cps | map(millions); " M connections/s"),
            line("load, connections"; .load_cps | millions; .spread.load_cps | map(millions); " M connections/s"),
            line("load, requests"; .load_rps | millions; .spread.load_rps | map(millions); " M requests/s"),
            line("ratio of connections"; .ratio; .spread.ratio | map(digits); "")' <<<"$result" | print_table
    fi
    [[ $(jq -r .verdict <<<"$result") == reached ]] \
        || die "load reaches less than $load_wanted of bench connect" "try it on an idle machine"
}

#!/bin/sh
# Instructions that a row of `spanwire compare encode` or `compare pipe` takes for one record: two runs
# under callgrind, one twice as long as the other, and their difference. That is free of what starting
# costs, and it hardly depends on what else the machine does.
#
#   bench/instructions.sh encode span_typical spanwire
#   bench/instructions.sh pipe push_64_t4 spanwire
#
# Needs valgrind. The last file, callgrind.long, stays for callgrind_annotate.
set -eu
cd "$(dirname "$0")/.."
subject=${1:?encode or pipe} row=${2:?a row} peer=${3:-spanwire}

# Records of a lap, as bench/src/compare/{encode,pipe} have them.
case "$row $peer" in
push_*) records=$((4096 * ${row##*_t})) ;;
points_*) records=1000 ;;
histograms_*) records=250 ;;
json_*) records=64 ;;
*" transform") records=16 ;;
*) records=256 ;;
esac
case "$row" in
push_*_t1 | push_*_t2 | on_end_*)
    echo "$row reads the clock for each call; take push_64_t4 or push_512_t4" >&2
    exit 2
    ;;
esac

cargo build --release --quiet -p spanwire-bench --bin spanwire
target=${CARGO_TARGET_DIR:-target}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# Instructions of a run of so many laps.
count() {
    valgrind --tool=callgrind --callgrind-out-file="$directory/$1" \
        "$target/release/spanwire" "compare-$subject-child" --row "$row" --peer "$peer" --laps "$1" \
        >"$directory/log" 2>&1 || { cat "$directory/log" >&2; exit 1; }
    sed -n 's/^totals: //p' "$directory/$1"
}

short=$(count 40)
long=$(count 80)
cp "$directory/80" "$target/callgrind.long"
echo "$row $peer: $(((long - short) / (40 * records))) instructions a record"
echo "callgrind_annotate --auto=no $target/callgrind.long   # where they are"

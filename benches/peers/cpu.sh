#!/usr/bin/env bash
# Times the CPU executor beside PyTorch on the same threads, in one run: training steps, MNIST, and convolutions.
#
#   benches/peers/cpu.sh [THREADS [FOLDER]]
#
# FOLDER holds MNIST's files or a folder mnist/ of them; without it, MNIST is left out. The two programs take turns: step by step in
# three rounds, training by training, and convolution by convolution, for the shapes of DeepBench with batches of 8 and at most 20
# GFLOP, and for small groups and depthwise layers. PyTorch takes the faster of its two layouts throughout. What is measured goes
# to target/cpu_peers as it comes, and at the end to a page in benches/results, named after the processor.
#
# PYTHON is a python with torch in it [python3]; QUICK=1 runs a little of everything, as a trial, and leaves the page in
# target/cpu_peers. Needs a machine with nothing else to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

threads=${1:-$(nproc)} mnist=${2:-} quick=${QUICK:-}
python=${PYTHON:-python3}
target=${CARGO_TARGET_DIR:-target}
wgconv=$target/release/wgconv
out=$target/cpu_peers
[ -z "$mnist" ] || [ ! -d "$mnist/mnist" ] || mnist=$mnist/mnist
[ -z "$mnist" ] || ls "$mnist"/train-images* >/dev/null 2>&1 || { echo "error: $2: expected MNIST's files, or a folder mnist/ of them" >&2; exit 2; }
rm -rf "$out"
mkdir -p "$out"

torch() { "$python" benches/peers/torch_conv.py "$@" --device cpu --threads "$threads" --best-layout; }
version=$("$python" -c 'import torch; print(torch.__version__)')
cargo build --release --bin wgconv
cargo bench --bench step --no-run

field() { lscpu | sed -n "s/^$1: *//p" | head -1; }
features=$(field Flags | tr ' ' '\n' | grep -xE 'avx2|fma|avx512f|avx512_vnni|amx_tile|amx_bf16|asimd|sve' | paste -sd ' ')
"$python" - >"$out/about.json" <<JSON
import json
print(json.dumps({"processor": "$(field 'Model name')", "family": "$(field 'CPU family')", "model": "$(field Model)",
                  "caches": {"L1d": "$(field 'L1d cache')", "L2": "$(field 'L2 cache')", "L3": "$(field 'L3 cache')"},
                  "features": "$features", "cores": $(nproc), "threads": $threads, "torch": "$version",
                  "rust": "$(rustc --version)", "commit": "$(git describe --always --dirty)", "date": "$(date +%F)",
                  "command": "benches/peers/cpu.sh $threads${2:+ FOLDER}", "quick": bool("$quick")}))
JSON
cat "$out/about.json"

steps() {
    local round work model batch file
    for round in $(seq "${quick:-3}"); do
        for work in "lenet 64" "lenet 128" "vgg-mini 64" "resnet20 128" "mobilenet-mini 128" "cifar-fast-small 1024"; do
            read -r model batch <<<"$work"
            [ -z "$quick" ] || [ "$model" = lenet ] || continue
            file=$out/$model.py
            "$wgconv" summary "$model" --pytorch >"$file"
            cargo bench --quiet --bench step -- "$model" "$batch" "$threads" --json
            torch train --model "$file" --input "$([ "$model" = lenet ] && echo 1,28,28 || echo 3,32,32)" --batch "$batch"
        done
    done
}

trainings() {
    local round before
    for round in 1 2; do
        rm -rf "$out/run"
        before=$(date +%s.%N)
        "$wgconv" train --data "$mnist" --epochs "${quick:-3}" --device cpu --threads "$threads" --out "$out/run" >&2
        "$python" -c 'import json, sys, time
epochs = [row for row in map(json.loads, open(sys.argv[1])) if "test/accuracy" in row]
print(json.dumps({"program": "wgconv", "seconds": time.time() - float(sys.argv[2]), "accuracy": epochs[-1]["test/accuracy"], "epochs": len(epochs)}))' \
            "$out/run/metrics.jsonl" "$before"
        torch mnist --data "$mnist" --batch 64 --epochs "${quick:-3}"
    done
}

# The three passes of each convolution of a file.
convolutions() {
    local row budget=0.3 rows=-0
    [ -z "$quick" ] || budget=0.05 rows=2
    tail -n +2 "$1" | head -n "$rows" | while read -r row; do
        { head -1 "$1"; echo "$row"; } >"$out/one.csv"
        "$wgconv" bench --cases "$out/one.csv" --device cpu --threads "$threads" --budget "$budget" --json
        torch conv --cases "$out/one.csv" --budget "$budget"
    done
}

# With batches of 8, each once, up to 20 GFLOP.
awk -F, 'NR == 1 { print; next }
{
    rows = int(($3 + 2 * $8 - $6) / $10) + 1; columns = int(($4 + 2 * $9 - $7) / $11) + 1; $1 = 8
    line = $1; for (i = 2; i <= NF; i++) line = line "," $i
    if (2 * 8 * rows * columns * $5 * $2 * $6 * $7 <= 20e9 && !seen[line]++) print line
}' src/bench/suites/deepbench.csv >"$out/deepbench_8.csv"

steps | tee "$out/steps.jsonl"
[ -z "$mnist" ] || trainings | tee "$out/mnist.jsonl"
convolutions "$out/deepbench_8.csv" | tee "$out/deepbench.jsonl"
convolutions benches/peers/groups.csv | tee "$out/groups.jsonl"
"$python" benches/cpu_table.py "$out" ${quick:+"$out/page.md"}

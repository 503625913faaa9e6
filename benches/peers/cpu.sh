#!/usr/bin/env bash
# Times the CPU executor beside PyTorch on the same threads, in one run: training steps, MNIST, and convolutions.
#
#   benches/peers/cpu.sh [THREADS [FOLDER_WITH_MNIST]]
#
# Three rounds of the training steps, the two programs in turn; then MNIST, twice each; then the shapes of DeepBench with
# batches of 8 and at most 20 GFLOP, by side_by_side.sh. PyTorch takes the faster of its two layouts throughout. PYTHON is a
# python with torch in it [python3]. Needs a machine with nothing else to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

threads=${1:-$(nproc)} mnist=${2:-}
python=${PYTHON:-python3}
target=${CARGO_TARGET_DIR:-target}
out=$target/cpu_peers
mkdir -p "$out"
torch() { "$python" benches/peers/torch_conv.py "$@" --device cpu --threads "$threads" --best-layout; }

cargo build --release --bin wgconv
cargo bench --bench step --no-run

for round in 1 2 3; do
    for work in "lenet 64" "lenet 128" "vgg-mini 64"; do
        read -r model batch <<<"$work"
        cargo bench --quiet --bench step -- "$model" "$batch" "$threads" | tail -1
        torch train --model "$model" --batch "$batch"
    done
    for work in "resnet20 128" "mobilenet-mini 128" "cifar-fast-small 1024"; do
        read -r model batch <<<"$work"
        "$target/release/wgconv" summary "$model" --pytorch >"$out/$model.py"
        cargo bench --quiet --bench step -- "$model" "$batch" "$threads" | tail -1
        torch train --model "$out/$model.py" --input 3,32,32 --batch "$batch"
    done
done
if [ -n "$mnist" ]; then
    for round in 1 2; do
        rm -rf "$out/run"
        time "$target/release/wgconv" train --data "$mnist" --epochs 3 --device cpu --threads "$threads" --out "$out/run"
        torch mnist --data "$mnist" --batch 64
    done
fi
awk -F, 'NR == 1 { print; next }
{
    rows = int(($3 + 2 * $8 - $6) / $10) + 1; columns = int(($4 + 2 * $9 - $7) / $11) + 1; $1 = 8
    line = $1; for (i = 2; i <= NF; i++) line = line "," $i
    if (2 * 8 * rows * columns * $5 * $2 * $6 * $7 <= 20e9 && !seen[line]++) print line
}' src/bench/suites/deepbench.csv >"$out/deepbench_8.csv"
RAYON_NUM_THREADS=$threads OMP_NUM_THREADS=$threads benches/peers/side_by_side.sh --cases "$out/deepbench_8.csv" \
    --device cpu --torch-device cpu --only wgconv,torch --best-layout --out "$out"

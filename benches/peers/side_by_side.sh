#!/usr/bin/env bash
# Times the same convolutions with wgconv, Burn and PyTorch, one after the other, and prints one table.
#
#   benches/peers/side_by_side.sh [--suite NAME | --cases FILE.csv] [options]
#
#   --suite NAME          small, resnet50 or deepbench [small]
#   --pass PASS           all, forward, grad_filters or grad_input [all]
#   --batch N             replace the number of images of every convolution
#   --budget SECONDS      time to spend on a row, at least [0.3]
#   --warm-cache          every run reads the same inputs; else none finds them in a cache
#   --channels-last       for Burn and PyTorch; wgconv always lays its tensors out so
#   --best-layout         PyTorch tries both layouts, and the faster counts
#   --device DEVICE       wgconv's device [auto]; a software rasteriser is allowed
#   --burn-device DEVICE  Burn's device [auto]: software, discrete:0, integrated:0, ...
#   --torch-device DEVICE cuda or cpu [cuda where PyTorch has it]
#   --only LIST           of wgconv,burn,torch, separated by commas; results of the others are taken from --out
#   --out DIR             where results go: wgconv.jsonl, burn.jsonl, torch.jsonl [target/side_by_side]
#
# A program that is not installed is left out, with a line that says how to get it. PYTHON is a python with torch in
# it [python3]; WGCONV and BURN_CONV are the two binaries, if they are not to be found where cargo puts them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
suite=small cases= pass=all budget=0.3 device=auto burn_device=auto torch_device= only=wgconv,burn,torch
out=$root/target/side_by_side
common=()
layout= torch_layout=

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
while [ $# -gt 0 ]; do
    case $1 in
        --warm-cache) common+=(--warm-cache); shift; continue ;;
        --channels-last) layout=--channels-last; shift; continue ;;
        --best-layout) torch_layout=--best-layout; shift; continue ;;
        -h | --help) usage; exit 0 ;;
    esac
    [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
    case $1 in
        --suite) suite=$2 ;;
        --cases) cases=$2 ;;
        --pass) pass=$2 ;;
        --batch) common+=(--batch "$2") ;;
        --budget) budget=$2 ;;
        --device) device=$2 ;;
        --burn-device) burn_device=$2 ;;
        --torch-device) torch_device=$2 ;;
        --only) only=$2 ;;
        --out) out=$2 ;;
        *) echo "error: no option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift 2
done
cases=${cases:-$root/src/bench/suites/$suite.csv}
[ -f "$cases" ] || { echo "error: no file $cases" >&2; exit 2; }
mkdir -p "$out"

wgconv=${WGCONV:-${CARGO_TARGET_DIR:-$root/target}/release/wgconv}
burn=${BURN_CONV:-$here/burn/target/release/burn-conv}
python=${PYTHON:-python3}
common+=(--cases "$cases" --pass "$pass" --budget "$budget")
wanted() { [[ ,$only, == *,$1,* ]]; }
# Fails when some row has no figure; those that have one are kept.
into() { "${@:2}" >"$out/$1.part" || echo "$1: some rows are missing" >&2; mv "$out/$1.part" "$out/$1.jsonl"; }

if wanted wgconv; then
    [ -n "${WGCONV:-}" ] || (cd "$root" && cargo build --release --bin wgconv)
    echo "wgconv ..." >&2
    into wgconv "$wgconv" bench "${common[@]}" --device "$device" --allow-software --json
fi
if wanted burn; then
    if [ -x "$burn" ]; then
        echo "burn ..." >&2
        into burn "$burn" "${common[@]}" $layout --device "$burn_device"
    else
        rm -f "$out/burn.jsonl"
        echo "burn: left out; (cd $here/burn && cargo build --release) builds it, in half an hour of one core" >&2
    fi
fi
if wanted torch; then
    if "$python" -c 'import torch' 2>/dev/null; then
        echo "torch ..." >&2
        into torch "$python" "$here/torch_conv.py" conv "${common[@]}" ${torch_layout:-$layout} ${torch_device:+--device "$torch_device"}
    else
        rm -f "$out/torch.jsonl"
        echo "torch: left out; \`pip install torch\`, or name a python that has it in PYTHON" >&2
    fi
fi

files=()
for name in wgconv burn torch; do
    [ ! -s "$out/$name.jsonl" ] || files+=("$out/$name.jsonl")
done
[ ${#files[@]} -ge 2 ] || { echo "error: nothing to compare with" >&2; exit 1; }
exec "$wgconv" bench --compare "${files[@]}"

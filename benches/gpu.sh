#!/usr/bin/env bash
# Measures everything worth knowing about a GPU, beside PyTorch on the same GPU, and makes one page of it.
#
#   benches/gpu.sh pack [--mnist DIR] [--cifar ARCHIVE] [--out FOLDER] [--debug]    build here; FOLDER [target/gpu_pack] can
#                                             be carried to a machine without Rust or a network (60 MiB at most); ARCHIVE is
#                                             a tar with pictures of 32x32, train/CLASS/* and test/CLASS/*
#   FOLDER/gpu.sh [--reduced] [--device DEVICE] [PART ..]    there: run parts, by default all of them in this order
#   benches/gpu.sh table [RESULTS [FILE.md]]                 here: from the results [FOLDER/results] to a page
#
#   part         takes at most, a call    what
#   verify       4 min            every kernel against its definition, with shader checks and without; special values
#   launches     1 min            a thousand empty launches, with barriers and without; the device's ceilings
#   deepbench    9 min            94 convolutions in three passes, verified, beside cuDNN; then cuDNN in f16
#   steps        9 min            training steps of presets; PyTorch eager, as CUDA graph, and with mixed precision
#   recipes      9 min            MNIST and CIFAR-10 by the built-in recipes, several seeds; the same in PyTorch
#   mnist        4 min            lenet on MNIST to 99 %, and PyTorch's
#   candidates   9 min            every implementation that the rules offer for each convolution
#   peers        9 min            Burn, where its binary lies beside this script
#
# A part writes JSON lines to results/PART.jsonl as it goes. Run again, it goes on where it was cut off; what is done is not
# done again. What fails is a line in results/log.txt, and the rest goes on. --reduced takes a few small cases of each part,
# for a software rasteriser. PYTHON is a python with torch in it [python3]; LIMIT ends the run after so many seconds [570].
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
presets=(lenet vgg-mini resnet8 resnet20 mobilenet-mini cifar-fast-small)
parts=(verify launches deepbench steps recipes mnist candidates peers)

# Minutes that a part takes at most in one call.
minutes() { case $1 in launches) echo 1 ;; verify | mnist) echo 4 ;; *) echo 9 ;; esac; }

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
fail() { echo "error: $1" >&2; exit "${2:-2}"; }

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

# Builds what the parts need, and puts it into one folder.
pack() {
    local root out target mnist= cifar= profile=release model
    root=$(cd "$here/.." && pwd)
    target=${CARGO_TARGET_DIR:-$root/target}
    out=$target/gpu_pack
    while [ $# -gt 0 ]; do
        [ "$1" != --debug ] || { profile=dev; shift; continue; }
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
            --mnist) mnist=$(absolute "$2") ;;
            --cifar) cifar=$(absolute "$2") ;;
            --out) out=$(absolute "$2") ;;
            *) fail "pack: no option $1" ;;
        esac
        shift 2
    done
    [ -z "$mnist" ] || [ -d "$mnist" ] || fail "no folder $mnist"
    [ -z "$cifar" ] || [ -f "$cifar" ] || fail "no file $cifar"
    [ ! -e "$out" ] || [ -f "$out/about.json" ] || fail "$out: expected nothing there, or an earlier pack"
    set -e
    cd "$root"
    # The path of the program, the bench or the test of that name. They are built together, since each set of targets has
    # dependencies with features of their own.
    built() {
        cargo build --profile $profile --bin wgconv --bench launches --test special_values --message-format=json |
            grep "\"name\":\"$1\"" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
    }
    mkdir -p "$out/bin" "$out/cases"
    cp "$(built wgconv)" "$out/bin/wgconv"
    cp "$(built launches)" "$out/bin/launches"
    cp "$(built special_values)" "$out/bin/special_values"
    local burn=$root/benches/peers/burn/target/release/burn-conv
    [ ! -x "$burn" ] || cp "$burn" "$out/bin/"
    cp src/bench/suites/*.csv "$out/cases/"
    cp benches/gpu.sh benches/gpu_table.py benches/peers/torch_*.py "$out/"
    mkdir -p "$out/models"
    for model in "${presets[@]}"; do "$out/bin/wgconv" summary "$model" --pytorch >"$out/models/$model.py"; done
    [ -z "$mnist" ] || { rm -rf "$out/mnist"; cp -rL "$mnist" "$out/mnist"; chmod -R u+w "$out/mnist"; }
    [ -z "$cifar" ] || { rm -rf "$out"/cifar*; cp -L "$cifar" "$out/cifar.tar"; }
    printf '{"commit":"%s","packed":"%s","rustc":"%s"}\n' "$(git describe --always --dirty --abbrev=12 --exclude='*')" \
        "$(date -u +%Y-%m-%d)" "$(rustc --version)" >"$out/about.json"
    rm -f "$out"/bin/*.gz
    strip "$out"/bin/* 2>/dev/null || true
    # They are most of the pack otherwise.
    gzip -9 "$out"/bin/*
    local mib
    mib=$(du -sm --exclude=results "$out" | cut -f1)
    [ "$mib" -le 60 ] || fail "$out takes $mib MiB, expected at most 60" 1
    echo "$out: $mib MiB"
}

# A line for whoever looks later, and for whoever looks now.
log() { echo "$(date -u +%H:%M:%S) $*" | tee -a "$results/log.txt" >&2; }

# Runs a command for as long as there is time, appends what it prints to results/$part.jsonl, and says what went wrong.
# Without time left nothing is started.
append() {
    local what=$1 left=$((part_deadline - SECONDS))
    shift
    if [ "$left" -lt 5 ]; then
        [ -n "$out_of_time" ] || log "$part: out of time; run it again to go on"
        out_of_time=1
        return 1
    fi
    # Whole lines only: what is cut off is done again.
    timeout -k 5 "$left" bash -c '"$@"' run "$@" 2>"$results/stderr.txt" |
        grep --line-buffered '^{.*}$' >>"$results/$part.jsonl"
    local codes=("${PIPESTATUS[@]}")
    [ "${codes[0]}" = 0 ] || log "$part: $what: exit ${codes[0]}: $(tail -n 1 "$results/stderr.txt" | cut -c1-300)"
    [ "${codes[1]}" -lt 2 ] || log "$part: $what: results/$part.jsonl cannot be written"
    [ "${codes[0]}" = 0 ] && [ "${codes[1]}" -lt 2 ]
}

# Runs a command once: when it has ended well, it is noted as done.
once() {
    local what=$1
    shift
    ! grep -qxF "$part: $what" "$results/done.txt" || return 0
    append "$what" "$@" && echo "$part: $what" >>"$results/done.txt"
}

has_torch() { [ -n "$torch" ] || { log "$part: PyTorch is left out: $torch_missing"; return 1; }; }

# A CSV with the header of another, and of its rows one of each COUNT: row FIRST, and so on. Each such share is a fair sample,
# should there be time for one alone.
share() { awk -v first="$2" -v count="$3" 'NR == 1 || (NR - 2) % count == first - 1' "$1" >"$results/share.csv"; }

verify() {
    local only=() random=100
    [ -z "$reduced" ] || { only=(--only "(lenet"); random=2; }
    once "devices" "$wgconv" devices --json
    once "kernels" no_passed "$wgconv" verify --device "$device" $software "${only[@]}" --random $random --json
    once "kernels with shader checks" no_passed "$wgconv" verify --device "$device" $software "${only[@]}" --random $random --checks --json
    once "special values" special_values
}

# Without the lines of what passed, of which there are thousands.
no_passed() { "$@" | grep --line-buffered -v '"status":"PASSED"' ; return "${PIPESTATUS[0]}"; }

special_values() {
    if WGCONV_REQUIRE_GPU=1 "$here/bin/special_values" 1>&2; then echo '{"special_values":"PASSED"}'; else echo '{"special_values":"FAILED"}'; return 1; fi
}

launches() {
    once "empty launches" "$here/bin/launches" "$device"
    once "ceilings" "$wgconv" bench --suite small --pass forward --device "$device" $software --no-tune --budget 0 --json
}

# Convolutions in turns of a few, ours and theirs, so that both meet the same conditions.
deepbench() {
    local file=$here/cases/deepbench.csv shares=12 number budget=0.3
    [ -z "$reduced" ] || { file=$here/cases/small.csv shares=2 budget=0.02; }
    for ((number = 1; number <= shares; number++)); do
        share "$file" $number $shares
        once "ours $number" "$wgconv" bench --cases "$results/share.csv" --device "$device" $software --verify --budget $budget --json
        [ -z "$torch" ] || once "torch $number" torch conv --cases "$results/share.csv" --budget $budget --best-layout
    done
    has_torch || return 0
    [ "$torch" = cuda ] || { log "$part: PyTorch in f16 is left out: there is no CUDA"; return 0; }
    for ((number = 1; number <= shares; number++)); do
        share "$file" $number $shares
        once "torch f16 $number" torch conv --cases "$results/share.csv" --budget 0.1 --best-layout --dtype f16
    done
}

steps() {
    local row sizes model batch
    # The most telling first.
    local rows=(lenet:128 vgg-mini:128 resnet20:128 cifar-fast-small:1024 mobilenet-mini:128 resnet20:1024 vgg-mini:1024
        lenet:1024 lenet:64 mobilenet-mini:1024 vgg-mini:64 lenet:512 vgg-mini:512)
    [ -z "$reduced" ] || rows=(lenet:64 resnet8:4)
    for row in "${rows[@]}"; do
        model=${row%:*} batch=${row#*:} sizes=3,32,32
        [ "$model" != lenet ] || sizes=1,28,28
        once "ours $model $batch" "$here/bin/launches" "$device" "$model" "$batch"
        once "ours mixed $model $batch" "$here/bin/launches" "$device" "$model+mixed" "$batch"
        [ -n "$torch" ] || continue
        once "torch $model $batch" torch train --model "$here/models/$model.py" --input $sizes --batch "$batch" --best-layout
        [ "$torch" = cuda ] || continue
        once "torch graph $model $batch" torch train --model "$here/models/$model.py" --input $sizes --batch "$batch" --best-layout --graph
        once "torch f16 $model $batch" torch train --model "$here/models/$model.py" --input $sizes --batch "$batch" --best-layout --graph --dtype f16
    done
    has_torch
}

recipes() {
    local seed limit=
    [ -z "$reduced" ] || limit="--limit 512 --batch-size 128"
    if [ -f "$here/cifar.tar" ]; then
        [ -d "$here/cifar" ] || { mkdir -p "$here/cifar.part" && tar xf "$here/cifar.tar" -C "$here/cifar.part" && mv "$here/cifar.part" "$here/cifar"; }
        for seed in 0 1 2; do
            once "ours cifar-fast-small $seed" recipe cifar-fast-small $seed "$here/cifar" $limit
            [ "$torch" != cuda ] || once "torch cifar-fast-small $seed" torch_recipe cifar-fast-small $seed
        done
        [ -n "$reduced" ] || once "ours cifar-fast 0" recipe cifar-fast 0 "$here/cifar"
        [ "$torch" != cuda ] || once "torch cifar-fast 0" torch_recipe cifar-fast 0 --widths 64,256,256 --epochs 10
    else
        log "recipes: CIFAR-10 is left out: pack was run without --cifar"
    fi
    [ -d "$here/mnist" ] || { log "recipes: MNIST is left out: pack was run without --mnist"; return 0; }
    for seed in 0 1 2 3 4; do once "ours mnist-fast $seed" recipe mnist-fast $seed "$here/mnist" $limit; done
    [ -n "$reduced" ] || once "ours mnist-best 0" recipe mnist-best 0 "$here/mnist"
}

# A whole run of a recipe: a line for each epoch, one for the test set with test-time augmentation, and the whole program's
# seconds.
recipe() {
    local name=$1 seed=$2 data=$3 run start code whole views=shift
    shift 3
    [[ $name != mnist* ]] || views=
    run=$(mktemp -d) start=$(date +%s.%N)
    "$wgconv" train --recipe "$name" --seed "$seed" --data "$data" --device "$device" $software --out "$run/run" --json "$@"
    code=$?
    whole=$(seconds_since "$start")
    [ -z "$views" ] || "$wgconv" evaluate "$run/run" --weights last --tta $views --device "$device" $software --json || code=$?
    echo "{\"program\":\"wgconv\",\"recipe\":\"$name\",\"seed\":$seed,\"whole\":$whole}"
    rm -rf "$run"
    return $code
}

torch_recipe() {
    local name=$1 seed=$2 code
    shift 2
    "$python" "$here/torch_cifar.py" "$here/cifar" --seed "$seed" --device "$torch" "$@"
    code=$?
    echo "{\"program\":\"torch\",\"recipe\":\"$name\",\"seed\":$seed}"
    return $code
}

mnist() {
    local limit= epochs=10
    [ -d "$here/mnist" ] || { log "mnist: left out: pack was run without --mnist"; return 0; }
    [ -z "$reduced" ] || { limit="--limit 640" epochs=1; }
    once "ours" train_mnist $limit --epochs $epochs
    has_torch || return 0
    once "torch" torch mnist --data "$here/mnist" --batch 64 --epochs $epochs --until 0.99 --best-layout
}

# Seconds by the clock since what `date +%s.%N` said.
seconds_since() { echo "$(date +%s.%N) $1" | awk '{ print $1 - $2 }'; }

# Time to accuracy: a figure for each epoch, and the whole program's by the clock.
train_mnist() {
    local run start
    run=$(mktemp -d) start=$(date +%s.%N)
    "$wgconv" train --data "$here/mnist" --model lenet --device "$device" $software --out "$run/run" --json "$@"
    local code=$?
    printf '{"program":"wgconv","mnist":"whole program","seconds":%s}\n' "$(seconds_since "$start")"
    rm -rf "$run"
    return $code
}

candidates() {
    local file=$here/cases/deepbench.csv shares=12 most number budget=0.1
    [ -z "$reduced" ] || { file=$here/cases/small.csv shares=3 budget=0.01; }
    most=$shares
    [ -z "$reduced" ] || most=1
    for ((number = 1; number <= most; number++)); do
        share "$file" $number $shares
        once "share $number" "$wgconv" bench --cases "$results/share.csv" --device "$device" $software --all-implementations --no-tune --budget $budget --json
    done
}

peers() {
    local burn=$here/bin/burn-conv file=$here/cases/deepbench.csv
    [ -x "$burn" ] || { log "peers: Burn is left out: its binary was not built when this was packed"; return 0; }
    [ -z "$reduced" ] || file=$here/cases/small.csv
    once "burn" "$burn" --cases "$file" --pass all --budget 0.1
}

torch() { "$python" "$here/torch_conv.py" "$@" --device "$torch"; }

run() {
    local chosen=() part_deadline binary
    reduced= device=gpu software= python=${PYTHON:-python3} torch= torch_missing= out_of_time=
    while [ $# -gt 0 ]; do
        case $1 in
            --reduced) reduced=1 software=--allow-software ;;
            --device) [ $# -ge 2 ] || fail "--device needs a value"; device=$2; shift ;;
            -h | --help) usage; exit 0 ;;
            *) [[ " ${parts[*]} " == *" $1 "* ]] || fail "no part $1; there are ${parts[*]}, pack and table"; chosen+=("$1") ;;
        esac
        shift
    done
    [ ${#chosen[@]} -gt 0 ] || chosen=("${parts[@]}")
    [ -f "$here/about.json" ] || fail "parts are run in the folder that \`benches/gpu.sh pack\` makes"
    results=$here/results wgconv=$here/bin/wgconv
    deadline=$((SECONDS + ${LIMIT:-570}))
    for binary in "$here"/bin/*.gz; do
        [ -x "${binary%.gz}" ] || gunzip -k "$binary" || fail "$binary cannot be unpacked" 1
    done
    mkdir -p "$results" && : >>"$results/log.txt" && : >>"$results/done.txt" || fail "$results cannot be written" 1
    export WGCONV_CACHE=$results/cache
    if ! "$wgconv" devices --json 2>/dev/null | grep -q '"backend"'; then
        log "no GPU: $("$wgconv" devices 2>&1 | head -n 1)"
    fi
    torch=$("$python" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")' 2>"$results/stderr.txt") ||
        torch_missing="$python: $(tail -n 1 "$results/stderr.txt" | cut -c1-200)"
    [ -s "$results/about.json" ] || about >"$results/about.json"
    # What is started under a time limit is a shell of its own.
    export here wgconv device software python torch
    export -f torch no_passed special_values seconds_since train_mnist recipe torch_recipe
    for part in "${chosen[@]}"; do
        log "$part ..."
        out_of_time= part_deadline=$((SECONDS + 60 * $(minutes "$part")))
        [ $part_deadline -le $deadline ] || part_deadline=$deadline
        "$part"
    done
    rm -f "$results/share.csv" "$results/stderr.txt"
    log "done: $(wc -l <"$results/done.txt") pieces of work; \`gpu.sh table\` makes a page of $results"
}

# What was run, where and when.
about() {
    printf '{"pack":%s,"date":"%s","reduced":%s,"host":"%s","torch":"%s","command":"gpu.sh %s"}\n' "$(cat "$here/about.json")" \
        "$(date -u +%Y-%m-%d)" "$([ -n "$reduced" ] && echo true || echo false)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)" \
        "$([ -z "$torch" ] || "$python" -c 'import torch; print(torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())')" \
        "$([ -n "$reduced" ] && echo --reduced)"
}

case ${1:-} in
    pack) shift; pack "$@" ;;
    table) shift; exec "${PYTHON:-python3}" "$here/gpu_table.py" "${1:-$here/../target/gpu_pack/results}" ${2:+"$2"} ;;
    *) run "$@" ;;
esac

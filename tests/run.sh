#!/usr/bin/env bash
# Runs every test. Where this machine has no GPU driver, installs a software one first (Debian, Ubuntu).
#
# WGCONV_REQUIRE_GPU=1   a GPU test that finds no adapter fails instead of saying that it is skipped
# WGCONV_DATA=DIR        a folder with mnist/ in it: real data for the tests that can use them
set -euo pipefail
cd "$(dirname "$0")/.."

# The program that the tests run: another build of it would take minutes.
has_adapter() { "$(target_folder)/debug/wgconv" devices --json 2>/dev/null | grep -q '"backend"'; }
target_folder() { cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }

cargo build --tests
if ! has_adapter; then
    if command -v apt-get >/dev/null; then
        echo "no GPU driver found: installing Mesa's software rasteriser"
        as_root=$([ "$(id -u)" = 0 ] || echo sudo)
        $as_root apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq mesa-vulkan-drivers >/dev/null
    else
        echo "no GPU driver found; tests on the GPU will be skipped (install a Vulkan driver, such as Mesa's lavapipe)"
    fi
fi
# Two programs of tests at a time, since most have stretches that keep one core busy; what each prints comes when it ends. Those that
# time kernels have the machine for themselves.
run_one() {
    local output status=0
    output=$("$1" 2>&1) || status=$?
    printf '%s\n%s\n' "$1" "$output"
    return "$status"
}
export -f run_one
programs=$(cargo test --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
timed=$(grep '/tuning-' <<<"$programs")
grep -v '/tuning-' <<<"$programs" | xargs -P 2 -I {} bash -c 'run_one {}'
run_one "$timed"
cargo test --doc

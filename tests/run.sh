#!/usr/bin/env bash
# Runs every test. Where this machine has no GPU driver, installs a software one first (Debian, Ubuntu).
#
# WGCONV_REQUIRE_GPU=1   a GPU test that finds no adapter fails instead of saying that it is skipped
# WGCONV_DATA=DIR        a folder with mnist/ in it: real data for the tests that can use them
set -euo pipefail
cd "$(dirname "$0")/.."

has_adapter() { cargo run --quiet -- devices --json 2>/dev/null | grep -q '"backend"'; }

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
cargo test

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
cargo test

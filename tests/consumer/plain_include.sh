#!/usr/bin/env bash
# A program built by hand, with nothing but the include path: plain_include.sh SOURCE-OF-KVS
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CXX:-c++}" -std=c++20 "-I$1/include" "$(dirname "$0")/project/main.cpp" -o "$work/game"
cd "$work" && ./game

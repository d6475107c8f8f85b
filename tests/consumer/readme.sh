#!/usr/bin/env bash
# The code in the README: readme.sh SOURCE-OF-KVS
#
# A block behind a line <!-- FILE --> has to be that file. Every other C++ block has to compile: as a file if it has a
# main, else as the body of a function behind its own #include lines. Nothing else is added: what a block lacks here, it
# lacks for who copies it.
set -euo pipefail
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v work="$work" '
    /^<!-- .* -->$/ { file = $2; next }
    /^```cpp$/      { n++; name = sprintf("%s/block%02d", work, n); inside = 1
                      if (file != "") print file > (name ".file"); else printf "" > (name ".cpp"); next }
    /^```$/         { inside = 0; file = ""; next }
    inside          { print > (name ".cpp") }
                    { if (!inside && $0 != "") file = "" }
' README.md

quoted=0 compiled=0
for block in "$work"/block*.cpp; do
    if [ -e "${block%.cpp}.file" ]; then
        file=$(cat "${block%.cpp}.file")
        diff -u "$file" "$block" || { echo "README.md does not quote $file as it is"; exit 1; }
        quoted=$((quoted + 1))
        continue
    fi
    if grep -q '^int main' "$block"; then
        cp "$block" "$work/program.cpp"
    else
        { grep '^#include' "$block"
          printf 'void f() {\n'
          grep -v '^#include' "$block"
          printf '}\n'; } >"$work/program.cpp"
    fi
    "${CXX:-c++}" -std=c++20 -fsyntax-only -Iinclude "$work/program.cpp" || { echo "in README.md:"; cat "$block"; exit 1; }
    compiled=$((compiled + 1))
done
echo "$quoted quoted, $compiled compiled"
[ "$quoted" -ge 1 ] && [ "$compiled" -ge 1 ]

# shellcheck shell=bash
# Sourced by the run scripts: need_packages COMMAND-OR-FILE=PACKAGE ...
#
# Makes sure that what a run needs is on the machine: each argument names something to look for and the Debian package
# that has it. Installs what is missing when run as root on a system with apt-get, else says what to install.

need_packages() {
    local missing=() need what package
    for need in "$@"; do
        what=${need%%=*} package=${need#*=}
        case $what in
            /*) [ -e "$what" ] && continue ;;
            *) command -v "$what" >/dev/null 2>&1 && continue ;;
        esac
        missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >/dev/null || true
        if apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then return 0; fi
        echo "The packages could not be installed." >&2
    fi
    echo "Please install these packages first (names as in Debian): ${missing[*]}" >&2
    echo "    sudo apt-get install ${missing[*]}" >&2
    return 1
}

# What every build here needs.
need_build_packages() {
    need_packages g++=g++ cmake=cmake ninja=ninja-build /usr/include/fmt/format.h=libfmt-dev \
        /usr/include/xxhash.h=libxxhash-dev
}

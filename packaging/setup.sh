# shellcheck shell=bash
# Sourced by run.sh and test.sh: everything that ckpt_viewer needs, set up once and then only checked.
#
#   setup run     what the program needs: Debian packages, a virtual environment, torch, this checkout
#   setup test    also what the tests need
#
# Sets root (the checkout) and venv (absolute). CKPT_VIEWER_VENV puts the virtual environment elsewhere, PYTHON names the
# interpreter to make it with. Ends the script with one sentence and code 2 when something cannot be had.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${CKPT_VIEWER_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

run_packages=(
    libegl1 libgl1 libxkbcommon0 libxkbcommon-x11-0 libdbus-1-3 libxcb-cursor0 libxcb-icccm4 libxcb-image0
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 libfontconfig1
    fonts-dejavu-core
)
test_packages=(xvfb xdotool libglib2.0-bin shared-mime-info desktop-file-utils)
run_libraries=(
    libEGL.so.1 libGL.so.1 libxkbcommon.so.0 libxkbcommon-x11.so.0 libdbus-1.so.3 libxcb-cursor.so.0 libxcb-icccm.so.4
    libxcb-image.so.0 libxcb-keysyms.so.1 libxcb-randr.so.0 libxcb-render-util.so.0 libxcb-shape.so.0
    libxcb-xinerama.so.0 libxcb-xkb.so.1 libfontconfig.so.1
)

say() { printf 'ckpt_viewer: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 2
}

# Whether apt-get may be used: as root, or by sudo without a password. Sets as_root to what goes before the command.
may_install() {
    as_root=()
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] && return 0
    as_root=(sudo -n)
    command -v sudo >/dev/null && sudo -n true 2>/dev/null
}

apt_install() {
    local apt=(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    say "installing Debian packages: $*"
    "${apt[@]}" install --no-install-recommends "$@" </dev/null >&2 && return 0
    "${apt[@]}" update </dev/null >&2 && "${apt[@]}" install --no-install-recommends "$@" </dev/null >&2
}

# Print those of the named Debian packages that are not installed.
missing_packages() {
    local installed package
    installed=$'\n'$(dpkg-query -W -f='${binary:Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        sed -n 's/^\([^ :]*\)[^ ]* installed$/\1/p')$'\n'
    for package; do
        case $installed in *$'\n'"$package"$'\n'*) ;; *) printf '%s ' "$package" ;; esac
    done
}

# System packages: installed where that is allowed, named where it is not. Returns 1 while some are missing.
setup_packages() {
    local wanted=("${run_packages[@]}") missing library
    [ "$1" = test ] && wanted+=("${test_packages[@]}")
    if command -v dpkg-query >/dev/null; then
        missing=$(missing_packages "${wanted[@]}")
        [ -z "$missing" ] && return 0
        # shellcheck disable=SC2086
        if may_install && apt_install $missing; then
            return 0
        fi
        say "these Debian packages are missing; install them with: sudo apt-get install $missing"
        return 1
    fi
    [ "$(uname -s)" = Linux ] && command -v ldconfig >/dev/null || return 0
    missing=
    for library in "${run_libraries[@]}"; do
        ldconfig -p | grep -q -F "$library" || missing+="$library "
    done
    [ -z "$missing" ] && return 0
    say "Qt needs these libraries, which were not found; install them with this system's package manager: $missing"
    return 1
}

good_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# Print a Python that is new enough and can make virtual environments.
find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        good_python "$PYTHON" && printf '%s' "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$candidate" >/dev/null && good_python "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local python
    [ ! -e "$venv" ] || [ -f "$venv/pyvenv.cfg" ] || [ -z "$(ls -A "$venv")" ] ||
        fail "$venv is there and is no virtual environment; move it away or set CKPT_VIEWER_VENV to another folder"
    if ! python=$(find_python); then
        if [ -z "${PYTHON:-}" ] && may_install && apt_install python3 python3-venv; then
            python=$(find_python) || python=
        fi
        [ -n "$python" ] || fail "no Python 3.10 or newer with the venv module was found${PYTHON:+ at $PYTHON};" \
            "install one (Debian: sudo apt-get install python3 python3-venv) or name one: PYTHON=/path/to/python3"
    fi
    say "making the virtual environment $venv"
    "$python" -m venv --clear "$venv" >&2 || fail "$python could not make a virtual environment in $venv; see the lines above"
}

pip_install() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >&2 ||
        fail "pip could not install what is needed; see the lines above, mend that (often the network) and run this again"
}

# What a finished set-up depends on; another checkout, Python or requirement means setting up again.
stamp_key() {
    printf '%s\n' "$root" "$("$venv/bin/python" -V 2>&1)"
    cat "$root/pyproject.toml" "$root/packaging/constraints.txt" "$root/packaging/setup.sh" | cksum
}

# Whether a part (packages, python) is set up for a level; what the tests need includes what the program needs.
stamped() {
    local stamp
    for stamp in "$venv/.ckpt_viewer-$1-$2" "$venv/.ckpt_viewer-$1-test"; do
        [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && return 0
    done
    return 1
}

stamp() { stamp_key >"$venv/.ckpt_viewer-$1-$2"; }

setup_python() {
    local quiet=() extra=
    "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || make_venv
    [ "$1" = test ] && extra='[dev]'
    [ -t 2 ] || quiet=(--quiet)
    say "installing torch and what else is needed into $venv (once; some minutes)"
    pip_install ${quiet[@]+"${quiet[@]}"} 'pip>=22'
    # torch first and alone: the pinned build, before anything else could ask for another one.
    pip_install ${quiet[@]+"${quiet[@]}"} "$(grep '^torch==' "$root/packaging/constraints.txt")"
    pip_install ${quiet[@]+"${quiet[@]}"} --constraint "$root/packaging/constraints.txt" --editable "$root$extra"
    # pip compiles what it copies; of a checkout each start would compile 100 files where writing byte code is turned off.
    "$venv/bin/python" -m compileall -q "$root/ckpt_viewer" >&2 || true
}

setup() {
    local level=$1 key='' packages=yes
    [ -x "$venv/bin/ckpt-viewer" ] && key=$(stamp_key)
    stamped packages "$level" || setup_packages "$level" || packages=no
    if ! stamped python "$level"; then
        setup_python "$level"
        stamp python "$level"
    fi
    if [ $packages = yes ]; then stamped packages "$level" || stamp packages "$level"; fi
}

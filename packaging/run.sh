#!/usr/bin/env bash
# Set everything up and open a checkpoint:  bash packaging/run.sh [FILE]
#
# Without FILE the sample is opened. Without a display the window is painted off screen: the tree goes to standard output,
# followed by where the screenshot is.
set -euo pipefail
# shellcheck source=packaging/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

case ${1-} in
-h | --help)
    sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
--) shift ;;
-*) fail "there is no option $1; a file of that name is written ./$1" ;;
esac
[ $# -le 1 ] || fail "one file at a time; for more: $venv/bin/ckpt-viewer FILE FILE ..."
file=${1-$root/resources/sample/model_3.pth}
[ -e "$file" ] || fail "$file: there is no such file; give the path of a checkpoint, or none for the sample"
case $file in /*) ;; *) file=$PWD/$file ;; esac

setup run

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || [ "$(uname -s)" = Darwin ]; then
    exec "$venv/bin/ckpt-viewer" view -- "$file"
fi

# A folder of the user's own: a name that anybody could guess in /tmp could be a link that somebody put there.
pictures=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -n "$pictures" ] && mkdir -p -- "$pictures/ckpt-viewer" 2>/dev/null; then
    pictures=$pictures/ckpt-viewer
else
    pictures=$(mktemp -d)
fi
picture=$pictures/$(basename -- "$file").png
say "there is no display, so the window is painted off screen"
QT_QPA_PLATFORM=offscreen "$venv/bin/ckpt-viewer" "$file" --screenshot "$picture"
"$venv/bin/ckpt-viewer" ls "$file"
printf '\nScreenshot: %s\n' "$picture"

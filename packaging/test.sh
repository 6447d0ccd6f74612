#!/usr/bin/env bash
# Set everything up and run all tests:  bash packaging/test.sh [PYTEST ARGUMENTS]
#
# Arguments go to pytest, which runs in the checkout: bash packaging/test.sh -k remap tests/export
set -euo pipefail
# shellcheck source=packaging/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

setup test

cd -- "$root"
# Widgets are drawn in memory; the tests of the real window start an X server of their own.
export QT_QPA_PLATFORM=${QT_QPA_PLATFORM:-offscreen}
# One process for each core; the tests of one file stay together, since they share what is slow to make.
exec "$venv/bin/python" -m pytest --numprocesses auto --dist loadfile "$@"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Called by meson: builds klp_shim.ko for a kernel release in a copy of the sources.
#   build-module.sh RELEASE OUTPUT DIR SOURCE...
set -eu
release=$1 output=$2 dir=$3
shift 3
mkdir -p "$dir"
cp -u "$@" "$dir/"
# The copy is the module's folder; ninja's jobs are not make's.
env -u MAKEFLAGS make -s -C "/lib/modules/$release/build" M="$(realpath "$dir")" modules
cp "$dir/klp_shim.ko" "$output"

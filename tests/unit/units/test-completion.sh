#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The completions do what they promise, tried as the shell would use them. klpctl is the real one, without a daemon.
set -eu -o pipefail
# Environment: KLPCTL, SOURCE.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ln -s "$KLPCTL" "$dir/klpctl"
PATH=$dir:$PATH
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent
# shellcheck source=/dev/null
. "$SOURCE/units/klpctl.bash"

status=0
# complete_is WANTED... -- WORDS...: the last word is the one to complete; each of WANTED is offered, "!WORD" is not.
complete_is() {
        local wanted=() w reply
        while [[ $1 != -- ]]; do
                wanted+=("$1")
                shift
        done
        shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        _klpctl 2> /dev/null || : # compopt complains outside of a completion
        reply=" ${COMPREPLY[*]} "
        for w in "${wanted[@]}"; do
                case $w in
                !*) [[ $reply != *" ${w#!} "* ]] || { echo "FAILED: '$*' offers ${w#!}"; status=1; } ;;
                *) [[ $reply == *" $w "* ]] || { echo "FAILED: '$*' does not offer $w:$reply"; status=1; } ;;
                esac
        done
}

complete_is list status apply history policy -- klpctl ''
complete_is downgrade disable '!apply' -- klpctl d
complete_is --json --no-legend '!--reason' -- klpctl list --
complete_is --reason --timeout --accept-irreversible '!--since' -- klpctl apply --
complete_is --since --patch '!--reason' -- klpctl history --
complete_is --stacks -- klpctl blocking --
complete_is --inventory --batch --profile -- klpctl plan --
complete_is upstream block-disable level-only -- klpctl plan --profile ''
complete_is validate plan diff explain -- klpctl fleet ''
complete_is --inventory --summary --at '!--batch' -- klpctl fleet --
complete_is show check explain -- klpctl policy ''
complete_is block-disable kernel-release ready -- klpctl policy explain ''
complete_is apply downgrade disable -- klpctl plan ''
complete_is --reason -- klpctl --json apply --
complete_is --reason -- klpctl apply --level 3 --

if command -v zsh > /dev/null; then
        zsh -n "$SOURCE/units/_klpctl" || { echo 'FAILED: zsh does not read _klpctl'; status=1; }
        # compinit finds it under its name, and it defines what it completes.
        fpath_dir=$SOURCE/units zsh -f -c 'fpath=($fpath_dir $fpath); autoload -Uz compinit; compinit -D -u
                [[ $_comps[klpctl] == _klpctl ]] && autoload +X _klpctl' ||
                { echo 'FAILED: zsh does not find _klpctl'; status=1; }
fi

[[ $status != 0 ]] || echo 'completions complete'
exit $status

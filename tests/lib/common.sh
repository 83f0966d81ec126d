# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# What every script of tests/ shares: where things are, how progress and failure are told, the cache and its lock.
#
# Three places, all of which may be deleted at any time:
#   $KLPD_CACHE   downloads and guests, shared by all clones of one machine   (/var/cache/klpd-tests)
#   $KLPD_BUILD   what was built from this tree                               (build/ in the tree)
#   $KLPD_LOGS    logs of the runs from this tree                             ($KLPD_BUILD/logs)
# Progress goes to stderr, results to stdout. Scripts are bash with `set -eu -o pipefail`.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export KLPD_CACHE=${KLPD_CACHE:-/var/cache/klpd-tests}
export KLPD_BUILD=${KLPD_BUILD:-$top/build}
export KLPD_LOGS=${KLPD_LOGS:-$KLPD_BUILD/logs}
# The machine's first python3 may be one without Debian's modules.
export PYTHON=/usr/bin/python3
export LC_ALL=C.UTF-8
mkdir -p "$KLPD_CACHE" "$KLPD_BUILD" "$KLPD_LOGS" 2>/dev/null || {
        echo "Can't write to $KLPD_CACHE or $KLPD_BUILD: run as root, or set KLPD_CACHE and KLPD_BUILD." >&2
        exit 1
}

note() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# quietly LOGFILE WHAT COMMAND...: output goes to LOGFILE; a failure shows its end and says where it is.
quietly() {
        local log=$1 what=$2 start=$SECONDS
        shift 2
        note "$what ..."
        if "$@" >>"$log" 2>&1 </dev/null; then
                ((SECONDS - start < 5)) || note "$what: $((SECONDS - start)) s"
                return 0
        fi
        note "$what: failed; the end of $log:"
        tail -n 25 "$log" | sed 's/^/    /' >&2
        return 1
}

# with_lock NAME COMMAND...: one process at a time makes one thing in the cache.
with_lock() {
        local name=$1
        shift
        mkdir -p "$KLPD_CACHE/locks"
        (
                flock -n 9 || { note "waiting for another run that makes $name ..."; flock 9; }
                "$@"
        ) 9>"$KLPD_CACHE/locks/$name"
}

# header FILE KEY [DEFAULT]: the value of "# KEY: value" in the comment block at the top of a script.
header() {
        local line
        while IFS= read -r line; do
                [[ $line == '#'* || ! $line ]] || break
                if [[ $line =~ ^'#'' '*"$2":' '*(.*)$ ]]; then
                        printf '%s\n' "${BASH_REMATCH[1]:-${3-}}"
                        return
                fi
        done <"$1"
        printf '%s\n' "${3-}"
}

# need_packages FILE: installs those packages of a list that are missing.
need_packages() {
        local p missing=()
        local -A have=()
        # shellcheck disable=SC2016 # ${...} is dpkg-query's
        while read -r p; do
                have[$p]=1
        done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
        while read -r p; do
                [[ -n ${have[$p]-} ]] || missing+=("$p")
        done < <(sed -e 's/#.*//' -e '/^ *$/d' -e 's/ //g' "$1")
        ((${#missing[@]})) || return 0
        [[ $EUID -eq 0 ]] || die "missing packages: ${missing[*]} (run as root once, or install them)"
        local log=$KLPD_LOGS/packages.log
        export DEBIAN_FRONTEND=noninteractive
        quietly "$log" "Installing ${missing[*]}" with_lock apt install_packages "${missing[@]}"
}

install_packages() {
        apt-get install -y --no-install-recommends "$@" || { apt-get update && apt-get install -y --no-install-recommends "$@"; }
}

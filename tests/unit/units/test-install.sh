#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# 'meson install' puts everything where a Debian 12 host expects it, and nothing else: installed.txt. And what is installed
# is fit to run: programs and man page work from there, nothing is writable for others, the shim's source builds by itself.
set -eu -o pipefail
# Environment: BUILD, VERSION.
here=$(dirname "$0")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

meson install -C "$BUILD" --no-rebuild --destdir "$root" > "$root.log" 2>&1 || { cat "$root.log"; rm -f "$root.log"; exit 1; }
rm -f "$root.log"

status=0
fail() {
        echo "FAILED: $*"
        status=1
}

mapfile -t patterns < <(grep -v '^#' "$here/installed.txt" | sed "s/@VERSION@/$VERSION/")
mapfile -t files < <(cd "$root" && find . ! -type d -printf '/%P\n' | LC_ALL=C sort)
((${#files[@]} > 20)) || fail "only ${#files[@]} files were installed"

for file in "${files[@]}"; do
        for pattern in "${patterns[@]}"; do
                # shellcheck disable=SC2053 # a pattern it is
                [[ $file == $pattern ]] && continue 2
        done
        # A module for a kernel that was asked for (-Dshim=true) goes where its kernel is.
        [[ $file == /lib/modules/*/updates/klp_shim.ko ]] && continue
        fail "$file is installed and not in installed.txt"
done
for pattern in "${patterns[@]}"; do
        for file in "${files[@]}"; do
                # shellcheck disable=SC2053
                [[ $file == $pattern ]] && continue 2
        done
        fail "$pattern is in installed.txt and not installed"
done

while read -r file; do
        fail "$file can be written by others than its owner"
done < <(find "$root" ! -type l -perm /022 ! -path "$root")

# Every object that the shim's Kbuild names has its source, and the headers that it includes, beside it.
source=$root/usr/src/klp-shim-$VERSION
# shellcheck disable=SC2013 # words they are
for object in $(sed -e ':a' -e '/\\$/N; s/\\\n//; ta' "$source/Kbuild" | sed -n 's/^klp_shim-y[ \t]*:\?+\?=//p'); do
        [[ -e $source/${object%.o}.c ]] || fail "the shim's source lacks ${object%.o}.c"
done
while read -r header; do
        [[ -e $source/$header ]] || fail "the shim's source lacks $header"
done < <(sed -n 's/^#[ \t]*include "\(.*\)"/\1/p' "$source"/*.[ch] | sort -u)
grep -q "^PACKAGE_VERSION=\"$VERSION\"" "$source/dkms.conf" || fail 'dkms.conf has another version'

# ASan's programs say nothing of leaks here; --version is about whether it runs at all.
[[ $("$root/usr/bin/klpctl" --version) == "klpctl $VERSION" ]] || fail 'klpctl does not run'
if command -v man > /dev/null; then
        while read -r page; do
                out=$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -l "$page" 2>&1 > /dev/null) || fail "man: $page"
                [[ -z $out ]] || fail "$page: $out"
        done < <(find "$root/usr/share/man" -type f)
fi

echo "${#files[@]} files are where they belong"
exit $status

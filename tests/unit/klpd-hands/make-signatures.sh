#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# make-signatures.sh DIRECTORY STAMP: fresh keys, certificates and signatures for test-signature, made by the openssl
# command as an administrator would, and by hand as the kernel's sign-file does.
set -eu
out=$1
stamp=$PWD/$2
rm -rf "$out"
mkdir -p "$out"
cd "$out"
exec 3>&2 2>log
trap 'cat log >&3' EXIT

# NAME SUBJECT DAYS KEY-ALGORITHM EXTENSIONS…: a certificate signed with its own key
own() {
        name=$1 subject=$2 days=$3 algorithm=$4
        shift 4
        set -- "$@" -addext basicConstraints=critical,CA:FALSE
        openssl req -x509 -newkey "$algorithm" -nodes -sha256 -days "$days" -subj "$subject" "$@" \
                -keyout "$name.key" -out "$name.pem"
}

# NAME FILE WITH…: NAME.p7s, detached, of FILE
sign() {
        name=$1 file=$2 with=$3
        shift 3
        openssl cms -sign -binary -in "$file" -signer "$with.pem" -inkey "$with.key" -outform DER -out "$name.p7s" "$@"
}

# OUT FILE P7S: FILE with an appended signature, as sign-file makes it (struct module_signature)
append() {
        size=$(wc -c <"$3")
        {
                cat "$2" "$3"
                printf '\000\000\002\000\000\000\000\000'
                for shift in 24 16 8 0; do
                        printf %b "\\0$(printf %03o $((size >> shift & 255)))"
                done
                printf '~Module signature appended~\n'
        } >"$1"
}

own trusted "/O=Klpd tests/CN=Trusted signer" 30 rsa:2048 -addext keyUsage=digitalSignature
own other "/CN=Somebody else" 30 rsa:2048
own short "/CN=Short key" 30 rsa:1024
own crypt "/CN=For encryption" 30 rsa:2048 -addext keyUsage=keyEncipherment
openssl ecparam -name prime256v1 -genkey -noout -out ec.key
openssl req -x509 -new -key ec.key -sha256 -days 30 -subj "/CN=Elliptic" -out ec.pem

# an authority and somebody whom it vouches for; and an end entity that plays authority
openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 30 -subj "/CN=Authority" -keyout ca.key -out ca.pem
for issuer in ca trusted; do
        openssl req -new -newkey rsa:2048 -nodes -subj "/CN=Vouched for by $issuer" -keyout "by-$issuer.key" -out "by-$issuer.csr"
        openssl x509 -req -in "by-$issuer.csr" -CA "$issuer.pem" -CAkey "$issuer.key" -set_serial 7 -days 3 -sha256 \
                -out "by-$issuer.pem"
done
# the same name and number as the trusted one, with another key
openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 30 -subj "/O=Klpd tests/CN=Trusted signer" \
        -set_serial "0x$(openssl x509 -in trusted.pem -noout -serial | cut -d= -f2)" -keyout twin.key -out twin.pem
openssl x509 -in trusted.pem -outform DER -out trusted.der

printf 'this stands for a module, or for a document\n' >content
printf 'this stands for a module, or for a document!\n' >changed
sign attributes content trusted
sign plain content trusted -noattr -nocerts
sign keyid content trusted -noattr -nocerts -keyid
sign sha384 content trusted -md sha384
sign sha1 content trusted -md sha1
sign elliptic content ec
sign chain content by-ca
sign chain-alone content by-ca -nocerts
sign false-chain content by-trusted
sign other content other
sign twin content twin
sign short content short
sign crypt content crypt
openssl cms -sign -binary -nodetach -in content -signer trusted.pem -inkey trusted.key -outform DER -out embedded.p7s
openssl cms -sign -binary -in content -signer trusted.pem -inkey trusted.key -signer other.pem -inkey other.key \
        -outform DER -out two.p7s
openssl cms -sign -binary -in content -signer trusted.pem -inkey trusted.key -outform PEM -out pem.p7s
openssl smime -sign -binary -in content -signer trusted.pem -inkey trusted.key -outform DER -out pkcs7.p7s
openssl cms -encrypt -binary -in content -outform DER -out enveloped.p7s trusted.pem

append signed.ko content plain.p7s
append signed-other.ko content other.p7s
append signed-changed.ko changed plain.p7s
sign over-appended signed-other.ko trusted
: >"$stamp"
trap - EXIT

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
#
# For scenarios of fleets: who signs documents; and for those with "hosts:", the servers beside the guests
# (tests/vm/network), and how the hosts wait for each other. A reply's body is in the file `reply`.

# signer.key and signer.pem. Valid since long ago, and for ever: the hosts' clocks are some seconds apart, and uncertain.
make_signer() {
        printf '%s\n' '[ca]' default_ca=d '[d]' new_certs_dir=. database=index serial=serial default_md=sha256 policy=p \
                x509_extensions=e '[p]' commonName=supplied '[e]' basicConstraints=critical,CA:FALSE \
                keyUsage=digitalSignature >ca.conf
        : >index
        openssl req -new -newkey rsa:2048 -nodes -subj "/CN=Operator" -keyout signer.key -out signer.csr 2>openssl.log &&
                openssl ca -batch -selfsign -notext -config ca.conf -create_serial -keyfile signer.key -in signer.csr \
                        -out signer.pem -startdate 20200101000000Z -enddate 99991231235959Z
}

sign_document() { # FILE: makes FILE.p7s
        openssl cms -sign -binary -in "$1" -signer signer.pem -inkey signer.key -outform DER -out "$1.p7s"
}

# On each host etcd is http://10.0.2.100:2379, and the FleetLock server http://10.0.2.100:8080. A scenario may have its own
# elsewhere ($servers, $etcd_port), with users ($token).
servers=10.0.2.100
etcd_port=2379
token=''

post() { # PORT PATH BODY
        # shellcheck disable=SC2016 # bash's: the shell that can open a connection
        bash -c 'exec 3<>"/dev/tcp/$1/$2" && {
                        printf "POST %s HTTP/1.0\r\nHost: net\r\n" "$3"
                        [ -z "$5" ] || printf "Authorization: %s\r\n" "$5"
                        printf "Content-Length: %d\r\n\r\n%s" "${#4}" "$4"
                } >&3 && cat <&3' - "$servers" "$1" "$2" "$3" "$token" >answer &&
                head -n 1 answer | grep -q ' 200 ' && sed '1,/^\r$/d' answer >reply
}

kv_put_document() { # KEY FILE: with FILE.p7s, in one transaction
        post "$etcd_port" /v3/kv/txn "$(jq -nc --arg d "$(base64 -w0 "$2")" --arg s "$(base64 -w0 "$2.p7s")" \
                --arg k "$1" '{success: [{request_put: {key: ($k | @base64), value: $d}},
                        {request_put: {key: ($k + ".p7s" | @base64), value: $s}}]}')"
}

kv_put() { # KEY VALUE
        post "$etcd_port" /v3/kv/put "$(jq -nc --arg k "$1" --arg v "$2" '{key: ($k | @base64), value: ($v | @base64)}')"
}

kv_get() { # KEY
        post "$etcd_port" /v3/kv/range "$(jq -nc --arg k "$1" '{key: ($k | @base64)}')" &&
                jq -e -r '.kvs[0].value' reply >value && base64 -d value
}

met() { # NAME
        post "$etcd_port" /v3/kv/range "$(jq -nc --arg k "/meet/$1/" '{key: ($k | @base64), range_end: ($k + "~" | @base64)}')" &&
                [ "$(jq -r .count reply)" = "$HOSTS" ]
}

# Every host waits here for all others. One that has failed a "must" never comes.
meet() { # NAME
        kv_put "/meet/$1/$HOST" "$HOST" || fail "etcd answers"
        wait_for 400 "all hosts are here: $1" met "$1" || exit 99
}

# Something happens to etcd, to all hosts' at once: pause, continue, kill, wipe (when it was killed), start.
etcd_is() { # WORD
        post 8080 /test/etcd "{\"do\": \"$1\"}"
}

# The FleetLock server's answers so far, in the file `requests`: "STATUS PATH ID HOLDERS-AFTERWARDS".
lock_requests() {
        post 8080 /test/log '{}' && cp reply requests
}

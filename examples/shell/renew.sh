#!/bin/sh
# Renews a client certificate at a mailgate whose settings have [est] (RFC 7030). The key stays as it is.
# Usage: renew.sh HOST:PORT CERT KEY CA [DAYS]
# Does nothing while more than DAYS days are left (default 30), so that a timer may run it every day.
# Exit status: 0 renewed or not due, 4 try again later, 5 refused or unusable, 64 usage. Needs openssl 3 and curl.
set -u

if [ "$#" -lt 4 ] || [ "$#" -gt 5 ]; then
    echo "usage: $0 HOST:PORT CERT KEY CA [DAYS]" >&2
    exit 64
fi
gateway=$1 certificate=$2 key=$3 ca=$4 days=${5:-30}

for file in "$certificate" "$key" "$ca"; do
    if [ ! -r "$file" ]; then
        echo "$file can't be read" >&2
        exit 5
    fi
done
if openssl x509 -in "$certificate" -noout -checkend "$((days * 86400))" >/dev/null; then
    exit 0
fi

# In the certificate's own folder, so that the last step is a rename within one file system.
work=$(mktemp -d "$(dirname "$certificate")/.renew.XXXXXX") || exit 5
trap 'rm -rf "$work"' EXIT

openssl x509 -x509toreq -copy_extensions copyall -in "$certificate" -signkey "$key" -out "$work/request" 2>/dev/null || {
    echo "no request can be made of $certificate and $key" >&2
    exit 5
}
sed -n '/^-----BEGIN/,/^-----END/p' "$work/request" | grep -v '^-----' >"$work/body"

status=$(curl --silent --show-error --max-time 60 --cert "$certificate" --key "$key" --cacert "$ca" \
    --header 'Content-Type: application/pkcs10' --data-binary "@$work/body" --output "$work/answer" \
    --write-out '%{http_code}' "https://$gateway/.well-known/est/simplereenroll") || exit 4
case $status in
200) ;;
5?? | 429)
    cat "$work/answer" >&2
    exit 4
    ;;
*)
    cat "$work/answer" >&2
    exit 5
    ;;
esac

openssl base64 -d -A -in "$work/answer" 2>/dev/null | openssl pkcs7 -inform DER -print_certs 2>/dev/null |
    openssl x509 -out "$work/next" 2>/dev/null || {
    echo "the gateway's answer is no certificate" >&2
    exit 4
}
# A certificate that isn't for our key would lock us out.
if [ "$(openssl x509 -in "$work/next" -noout -pubkey)" != "$(openssl pkey -in "$key" -pubout)" ]; then
    echo "the gateway's answer is for another key" >&2
    exit 5
fi
chmod 644 "$work/next" && mv "$work/next" "$certificate"

#!/bin/sh
# Sends one message, with a file if there is one, by nothing but a POSIX shell and openssl.
#
# usage: send.sh [-t TRIES] HOST PORT CA CERTIFICATE PRIVATE_KEY IDEMPOTENCY_KEY FROM TO SUBJECT TEXT [FILE TYPE]
#
# Exit status: 0 the gateway has it, 4 it couldn't be handed over in so many tries, 5 it never will be.
set -u

tries=10
if [ "${1:-}" = -t ]; then
    tries=$2
    shift 2
fi
if [ "$#" -ne 10 ] && [ "$#" -ne 12 ]; then
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 64
fi
host=$1 port=$2 ca=$3 certificate=$4 private_key=$5 key=$6 from=$7 to=$8 subject=$9
shift 9
text=$1 path=${2:-} type=${3:-}

octets() {
    wc -c | tr -d ' '
}

# field VERB TEXT: counted, so that nothing in the text can be taken for a command.
field() {
    printf '%s#%s\n%s\n' "$1" "$(printf %s "$2" | octets)" "$2"
}

session() {
    printf 'MAIL %s\n' "$key"
    field FROM "$from"
    field TO "$to"
    field SUBJ "$subject"
    field TEXT "$text"
    if [ -n "$path" ]; then
        printf 'FILE#%s %s %s\n' "$(octets <"$path")" "$type" "${path##*/}"
        cat "$path"
        printf '\n'
    fi
    # The gateway closes after EXIT, and that is what ends s_client.
    printf 'SEND\nEXIT\n'
}

# The final lines are those with a space behind the code: greeting, SEND, EXIT. The last one but EXIT decides.
# -quiet, never -crlf: s_client must not change or interpret what it is given.
try() {
    session | openssl s_client -quiet -connect "$host:$port" -servername "$host" \
        -verify_hostname "$host" -verify_return_error -CAfile "$ca" -cert "$certificate" -key "$private_key" \
        2>/dev/null | awk '/^[2-5][0-9][0-9] / && !/^221 / && !/^220 / { last = $0 } END { print last }'
}

made=1 wait=5
while :; do
    reply=$(try)
    printf '%s\n' "${reply:-lost}"
    case $reply in
    2*) exit 0 ;;
    5*) exit 5 ;;
    esac
    [ "$made" -lt "$tries" ] || exit 4
    # Up to a quarter at random, so that many devices don't come back together.
    random=$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')
    asked=$(printf '%s\n' "$reply" | sed -n 's/.* retry=\([0-9]*\).*/\1/p')
    if [ -n "$asked" ]; then
        sleep $((asked + random % (asked / 4 + 1)))
    else
        sleep $((wait - random % (wait / 4 + 1)))
        [ $((wait *= 2)) -le 3600 ] || wait=3600
    fi
    made=$((made + 1))
done

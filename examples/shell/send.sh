#!/bin/sh
# Sends one message, with a file if there is one, by nothing but a POSIX shell and openssl.
#
# usage: send.sh [-t TRIES] HOST PORT CA CERTIFICATE PRIVATE_KEY IDEMPOTENCY_KEY FROM TO SUBJECT TEXT [FILE TYPE]
#
# Exit status: 0 the gateway has it, 4 it couldn't be handed over in so many tries, 5 it never will be, 64 the arguments
# can't be used.
set -u
# Octets are counted, not characters.
LC_ALL=C
export LC_ALL

longest_wait=3600
# For one try, with the upload, where there is a timeout command: the gateway allows 15 minutes for a message.
limit=${MAILGATE_SECONDS:-960}

complain() {
    printf '%s\n' "$*" >&2
}

give_up() {
    complain "$*"
    exit 5
}

refuse() {
    complain "$*"
    exit 64
}

usage() {
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 64
}

readable() {
    [ -f "$1" ] && [ -r "$1" ]
}

octets() {
    wc -c | tr -d ' '
}

tries=10
if [ "${1:-}" = -t ]; then
    case ${2:-} in
    '' | 0* | *[!0-9]*) usage ;;
    esac
    tries=$2
    shift 2
fi
[ "$#" -eq 10 ] || [ "$#" -eq 12 ] || usage
host=$1 port=$2 ca=$3 certificate=$4 private_key=$5 key=$6 from=$7 to=$8 subject=$9
shift 9
text=$1 path=${2:-} type=${3:-} with_file=$(($# > 1)) size=0

key_rule='an idempotency key is 1 to 64 of A-Z a-z 0-9 . _ : -'
case $key in
'' | *[!A-Za-z0-9._:-]*) refuse "$key_rule" ;;
esac
[ "${#key}" -le 64 ] || refuse "$key_rule"
for file in "$ca" "$certificate" "$private_key"; do
    readable "$file" || give_up "$file can't be read"
done
if [ "$with_file" -eq 1 ]; then
    name=${path##*/}
    name_rule="a file's name has 1 to 255 octets and no control characters"
    type_rule="a file's type has 1 to 255 octets and neither spaces nor control characters"
    case $name in
    '' | *[[:cntrl:]]*) refuse "$name_rule" ;;
    esac
    case $type in
    '' | *[[:cntrl:]\ ]*) refuse "$type_rule" ;;
    esac
    [ "${#name}" -le 255 ] || refuse "$name_rule"
    [ "${#type}" -le 255 ] || refuse "$type_rule"
    readable "$path" || give_up "$path can't be read"
    size=$(octets <"$path")
    [ "$size" -le 999999999 ] || give_up "$path is too large"
fi

folder=$(mktemp -d) || exit 4
client='' sleeper=''
clean_up() {
    [ -z "$client" ] || kill "$client" 2>/dev/null
    # Any other signal is lost on a shell that has not become sleep yet.
    [ -z "$sleeper" ] || kill -KILL "$sleeper" 2>/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# A write to a client that has ended fails, and the replies are read nevertheless.
trap '' PIPE
mkfifo "$folder/requests" "$folder/replies" || exit 4

within_limit() {
    if command -v timeout >/dev/null; then
        exec timeout "$limit" "$@"
    fi
    exec "$@"
}

# field VERB TEXT: counted, so that nothing in the text can be taken for a command.
field() {
    printf '%s#%s\n%s\n' "$1" "$(printf %s "$2" | octets)" "$2"
}

message() {
    printf 'MAIL %s\n' "$key"
    field FROM "$from"
    field TO "$to"
    field SUBJ "$subject"
    field TEXT "$text"
    [ "$with_file" -eq 1 ] || return 0
    printf 'FILE#%s %s %s\n' "$size" "$type" "$name"
    # A file that grows meanwhile must not exceed its count.
    head -c "$size" <"$path"
    printf '\n'
}

# number WORD: the number behind it in $reply, or nothing.
number() {
    printf '%s\n' "$reply" | sed -n "s/.* $1=\([0-9]\{1,\}\).*/\1/p"
}

# Reads up to a final line, which has a space behind its code, into $reply.
read_reply() {
    while IFS= read -r reply; do
        case $reply in
        [2-5][0-9][0-9]\ *) return 0 ;;
        esac
    done
    reply=
    return 1
}

# Whether the message is larger than the greeting says, in $most, that it may be; a close thing is left to the gateway.
too_large() {
    most=$(number size)
    # No message has fewer than 256 octets of header fields. A file goes on as base64, in lines of 78 octets for each 57.
    lines=$(((size + 56) / 57))
    [ -n "$most" ] && [ $((256 + $(printf %s "$text" | octets) + 78 * lines)) -gt "$most" ]
}

# The gateway closes after EXIT, and that is what ends s_client.
end() {
    printf 'EXIT\n' 2>/dev/null
    while read_reply; do :; done
}

# Speaks with the gateway. Leaves in $reply its last word about the message where $welcome is 1, else its greeting.
converse() {
    welcome=0
    read_reply || return 0
    case $reply in
    2*) welcome=1 ;;
    *) return 0 ;;
    esac
    if too_large; then
        end
        give_up "the message is too large: the gateway takes $most octets"
    fi
    message 2>/dev/null
    if [ "$with_file" -eq 1 ] && [ "$(octets <"$path")" -lt "$size" ]; then
        give_up "$path: it has become shorter"
    fi
    printf 'SEND\n' 2>/dev/null
    read_reply
    answer=$reply
    end
    reply=$answer
}

# -quiet, never -crlf: s_client must not change or interpret what it is given.
try() {
    within_limit openssl s_client -quiet -verify_quiet -connect "$host:$port" -servername "$host" \
        -verify_hostname "$host" -verify_return_error -CAfile "$ca" -cert "$certificate" -key "$private_key" \
        <"$folder/requests" >"$folder/replies" 2>"$folder/errors" &
    client=$!
    converse >"$folder/requests" <"$folder/replies"
    wait "$client"
    [ "$?" -ne 124 ] || complain "not done within $limit s"
    client=''
    [ -n "$reply" ] || cat "$folder/errors" >&2
}

made=1 wait=5
while :; do
    try
    printf '%s\n' "${reply:-lost}"
    pause=$wait asked=$(number retry)
    case $welcome$reply in
    12*) exit 0 ;;
    ?535*)
        complain 'the gateway takes nothing from this device for now; the message is kept'
        pause=$longest_wait
        ;;
    15*) exit 5 ;;
    esac
    [ "$made" -lt "$tries" ] || exit 4
    # Up to a quarter at random, so that many devices don't come back together.
    random=$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')
    if [ -n "$asked" ]; then
        pause=$((asked + random % (asked / 4 + 1)))
    else
        pause=$((pause - random % (pause / 4 + 1)))
    fi
    [ $((wait *= 2)) -le "$longest_wait" ] || wait=$longest_wait
    # A signal ends a wait at once, but not a command.
    sleep "$pause" &
    sleeper=$!
    complain "again in $pause s"
    wait "$sleeper"
    sleeper=''
    made=$((made + 1))
done

#!/bin/sh
# Send the line of text on standard input by SMS with ModemManager: sms.sh NUMBER…
# Exit code 0: the network took it for every number. 75: the alarm tries again, and only those who lack it get it.
# 65: some have it, and the others failed three times since: they do not get it.
# With BEAR_CHECK=1 nothing is sent: it says in one line how the modem is.

say() { # WORDS EXIT_CODE
    echo "$1"
    exit "$2"
}

[ $# -gt 0 ] || say "no number is given; write: sms.sh +15550100" 64
for number; do
    case "${number#+}" in
        "$number" | "" | *[!0-9]*) say "$number is no number for SMS; write + and the country first: +15550100" 65 ;;
    esac
done
command -v mmcli > /dev/null || say "mmcli is not there; sudo apt install modemmanager" 69

if [ -n "$BEAR_CHECK" ]; then
    modem=$(timeout 10 mmcli -m any -K 2>&1) || say "no modem is found; plug it in, and see: mmcli -L" 69
    value() { echo "$modem" | sed -n "s/^$1 *: *//p"; }
    case "$(value modem.generic.unlock-required) $(value modem.generic.state-failed-reason)" in
        sim-pin\ * | sim-puk\ *) say "the SIM is locked; take its PIN away in a phone" 69 ;;
        *\ sim-*) say "the modem has no SIM that works; put one in" 69 ;;
    esac
    case "$(value modem.generic.state)" in
        registered | connecting | connected | disconnecting) say "the modem is in the network" 0 ;;
        disabled) say "the modem is off, and the next text turns it on; sooner: sudo mmcli -m any --enable" 69 ;;
        *) say "the modem is in no network ($(value modem.generic.state)); look at its antenna and at the SIM" 69 ;;
    esac
fi

IFS= read -r text
text=$(printf %s "$text" | tr '"' "'") # mmcli knows no escapes
begun=$(date +%s)
umask 077
folder=${STATE_DIRECTORY:-$HOME/.local/state/bear-alarm}/sms # all in it is away after a day
known=$folder/$BEAR_TEXT_ID-$BEAR_TIME # of this text: "tried NUMBER", "took NUMBER", and "lacks NUMBER" that others took
[ -n "$BEAR_TEXT_ID" ] && mkdir -p "$folder" && find "$folder" -type f -mtime +0 -exec rm -f {} + &&
    touch "$known" || known=/dev/null
lines=$(cat "$known")
note() { lines="$lines
$1" && echo "$1" >> "$known"; }
count() { echo "$lines" | grep -cxF "$1"; }
dead() { [ -e "$folder/dead$1" ]; } # it failed three times for a text that others took, and took none since
given_up() { dead "$1" && [ "$(count "lacks $1")" -gt 0 ]; }

send() { # NUMBER
    made=$(timeout 5 mmcli -m any --messaging-create-sms="number='$1',text=\"$text\"" 2>&1)
    sms=$(echo "$made" | sed -n 's|.*\(/org/freedesktop/ModemManager1/SMS/[0-9]*\).*|\1|p')
    [ -n "$sms" ] || { echo "$made" && return; }
    timeout 15 mmcli -s "$sms" --send && note "took $1" && rm -f "$folder/dead$1"
    timeout 5 mmcli -m any --messaging-delete-sms="$sms" # else ModemManager keeps it
}

reached=
timeout 10 mmcli -m any --enable > /dev/null # it is off after each start of the machine
for number in $(for each; do dead "$each"; echo "$((!$?)) $(count "tried $each") $each"; done |
    sort -k 1,1n -k 2,2n | cut -d " " -f 3); do
    [ "$(count "took $number")" -eq 0 ] && ! given_up "$number" || continue
    # One takes 25 s at most, and the alarm ends this after 55 s.
    [ $(($(date +%s) - begun)) -lt 28 ] || { echo "the modem is slow; the other numbers are next" && break; }
    reached="$reached $number "
    note "tried $number"
    send "$number"
done
code=0
for number; do
    [ "$(count "took $number")" -eq 0 ] || continue
    case "$reached" in
        *" $number "*) ! echo "$lines" | grep -q ^took || note "lacks $number" ;; # where none took it: the network
    esac
    [ "$(count "lacks $number")" -lt 3 ] || touch "$folder/dead$number"
    given_up "$number" && [ $code -ne 75 ] && code=65 || code=75
done
exit $code

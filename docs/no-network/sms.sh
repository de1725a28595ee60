#!/bin/sh
# Send the line of text on standard input by SMS with ModemManager: sms.sh NUMBER…
# Exit code 0: the network took it for every number. 75: the alarm tries again, and only those who lack it get it.
# 65: some have it, and all others failed ten times: they do not get it.
# With BEAR_CHECK=1 nothing is sent: it says in one line how the modem is.

say() { # WORDS EXIT_CODE
    echo "$1"
    exit "$2"
}

[ $# -gt 0 ] || say "no number is given; write: sms.sh +15550100" 64
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
folder=${STATE_DIRECTORY:-$HOME/.local/state/bear-alarm}/sms
known=$folder/$BEAR_TEXT_ID-$BEAR_TIME # "tried NUMBER" and "took NUMBER" of this text; away after a day
[ -n "$BEAR_TEXT_ID" ] && mkdir -p "$folder" && find "$folder" -type f -mtime +0 -exec rm -f {} + &&
    touch "$known" || known=/dev/null
count() { grep -cxF "$1" "$known"; }

send() { # NUMBER
    made=$(timeout 5 mmcli -m any --messaging-create-sms="number='$1',text=\"$text\"" 2>&1)
    sms=$(echo "$made" | sed -n 's|.*\(/org/freedesktop/ModemManager1/SMS/[0-9]*\).*|\1|p')
    [ -n "$sms" ] || { echo "$made" && return 1; }
    timeout 20 mmcli -s "$sms" --send
    sent=$?
    [ $sent -ne 0 ] || echo "took $1" >> "$known"
    timeout 5 mmcli -m any --messaging-delete-sms="$sms" # else ModemManager keeps it
    return $sent
}

timeout 10 mmcli -m any --enable > /dev/null # it is off after each start of the machine
code=0
for number in $(for each in "$@"; do echo "$(count "tried $each") $each"; done | sort -n | cut -d " " -f 2); do
    [ "$(count "took $number")" -eq 0 ] || continue
    [ $(($(date +%s) - begun)) -lt 22 ] || exit 75 # one takes 30 s at most, and the alarm ends this after 55 s
    echo "tried $number" >> "$known"
    send "$number" && continue
    [ "$(count "tried $number")" -ge 10 ] && [ $code -ne 75 ] && code=65 || code=75
done
[ $code -ne 65 ] || grep -q "^took" "$known" || code=75 # perhaps it is the network
exit $code

#!/bin/sh
# Send the line of text on standard input by SMS with ModemManager: sms.sh NUMBER…
# Exit code 0: the network took it for every number. Else the alarm tries again, with the same #id at the end.
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
        disabled) say "the modem is off; sudo mmcli -m any --enable" 69 ;;
        *) say "the modem is in no network ($(value modem.generic.state)); look at its antenna and at the SIM" 69 ;;
    esac
fi

IFS= read -r text
text=$(printf %s "$text" | tr '"' "'") # mmcli knows no escapes
failed=0
for number in "$@"; do
    made=$(timeout 10 mmcli -m any --messaging-create-sms="number='$number',text=\"$text\"" 2>&1)
    sms=$(echo "$made" | sed -n 's|.*\(/org/freedesktop/ModemManager1/SMS/[0-9]*\).*|\1|p')
    if [ -z "$sms" ]; then
        echo "$made"
        failed=75
        continue
    fi
    timeout 20 mmcli -s "$sms" --send || failed=75
    timeout 5 mmcli -m any --messaging-delete-sms="$sms" # else ModemManager keeps it
done
exit $failed

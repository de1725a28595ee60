#!/bin/sh
# Send the line of text on standard input over LoRa: meshtastic.sh [CHANNEL [OPTION…]]
# CHANNEL is its number in the node, by default 0; OPTIONs are those of the program `meshtastic`, such as
# --port /dev/ttyUSB0, --host 10.0.0.9 or --dest '!a1b2c3d4'.
# Exit code 0: another node has it. Else the alarm tries again, with the same #id at the end.
# With BEAR_CHECK=1 nothing is sent: it says in one line how the node is.

say() { # WORDS EXIT_CODE
    echo "$1"
    exit "$2"
}

channel=${1:-0}
[ $# -eq 0 ] || shift
command -v meshtastic > /dev/null || say "the program meshtastic is not there; install it as docs/lora.md says" 69

if [ -n "$BEAR_CHECK" ]; then
    found=$(timeout 18 meshtastic "$@" --no-nodes --timeout 15 --get lora.region 2>&1) ||
        say "no node answers ($(echo "$found" | grep . | tail -n 1)); plug it in, and see: meshtastic --info" 69
    case "$found" in
        *"lora.region: 0"* | *"lora.region: UNSET"*) say "the node sends nothing; meshtastic --set lora.region EU_868 (or yours)" 69 ;;
    esac
    say "a node answers" 0
fi

IFS= read -r text
answer=$(timeout 50 meshtastic "$@" --no-nodes --timeout 40 --ch-index "$channel" --ack --sendtext "$text" 2>&1) || failed=75
echo "$answer"
case "$answer" in # its exit code is 0 too where no other node has it
    *"Received a NAK"*) exit 75 ;;
    *"Received an ACK"* | *"Received an implicit ACK"*) exit "${failed:-0}" ;;
esac
exit 75

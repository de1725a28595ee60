#!/bin/bash
# Look at shards with xargs, on every core: xargs.sh PICTURES SHARDS. The same command again runs what is not done.
set -o pipefail
bear-alarm classify "$1" --shards "$2" --engine none |
    xargs -r -n 1 -P "$(getconf _NPROCESSORS_ONLN)" nice bear-alarm classify --shards "$2" --workers 1 --shard

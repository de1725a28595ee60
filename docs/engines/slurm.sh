#!/bin/bash
# Look at shards with Slurm, a task each:
#
#     numbers=$(bear-alarm classify PICTURES --shards SHARDS --engine none | paste -sd,)
#     sbatch --array="$numbers" slurm.sh SHARDS
#
# The same two lines again run what is not done. A cluster takes numbers below its MaxArraySize, mostly 1,001: shards of
# two million pictures.
#SBATCH --job-name=bear-alarm
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=02:00:00
#SBATCH --requeue
exec bear-alarm classify --shards "$1" --shard "$SLURM_ARRAY_TASK_ID" --workers 1

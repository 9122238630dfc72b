#!/usr/bin/env bash
# Trains on any cloud through SkyPilot, as a managed job: it finds the machines, and goes on elsewhere when they are taken.
#
#     launch/sky.sh [--dry-run] [NAME=VALUE ...] -- --config=gpu_h100_8 --workdir=/checkpoints/run --config.data.path=/data
#
#   NAME=mvgen  GPUS=H100:8  NODES=1  SPOT=true
#   BUCKET=     bucket mounted at /checkpoints, such as gs://NAME: what a run must not lose (needed)
#   DATA=       bucket with the records, mounted at /data (needed)

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$HERE/common.sh" || exit
# shellcheck disable=SC2034 # read by name below
NAME=mvgen GPUS=H100:8 NODES=1 SPOT=true BUCKET='' DATA=''
read_words "$@"
need_training_words
[[ -n $BUCKET && -n $DATA ]] || die "BUCKET=gs://... and DATA=gs://... are missing"

TEXT=$(cat "$HERE/sky.yaml")
# shellcheck disable=SC2034 # read by name below
COMMAND=$(quoted "${TRAIN[@]}")
for name in NAME GPUS NODES SPOT BUCKET DATA COMMAND; do
  TEXT=${TEXT//"{{$name}}"/"${!name}"}
done
FILE=$(mktemp --suffix=.yaml)
trap 'rm -f "$FILE"' EXIT
printf '%s\n' "$TEXT" >"$FILE"
((DRY_RUN)) && printf '%s\n' "$TEXT"
run sky jobs launch --yes --name "$NAME" "$FILE"

#!/usr/bin/env bash
# Trains on Google Kubernetes Engine as a JobSet, which starts all pods again when one falls.
#
#     launch/gke.sh [--dry-run] [NAME=VALUE ...] -- --config=pod_v5e_16 --workdir=/shared/run --config.data.path=/shared/records
#
#   NAME=mvgen               of the JobSet
#   IMAGE=                   container image, built from launch/Containerfile (needed)
#   BUCKET=                  Cloud Storage bucket, mounted at /shared (needed): checkpoints and records
#   ACCELERATOR=tpu-v5-lite-podslice   node label; tpu-v5p-slice, tpu-v6e-slice ...
#   TOPOLOGY=4x4             of one slice
#   HOSTS=4                  pods in one slice
#   CHIPS=4                  TPU chips of a pod
#   SLICES=1                 slices, each a job of the set
#   RESTARTS=100             so often all are started again

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$HERE/common.sh" || exit
# shellcheck disable=SC2034 # read by name below
NAME=mvgen IMAGE='' BUCKET='' ACCELERATOR=tpu-v5-lite-podslice TOPOLOGY=4x4 HOSTS=4 CHIPS=4 SLICES=1 RESTARTS=100
read_words "$@"
need_training_words
[[ -n $IMAGE ]] || die "IMAGE=REGISTRY/NAME:TAG is missing: build it with launch/Containerfile"
[[ -n $BUCKET ]] || die "BUCKET=NAME is missing: where checkpoints and records are, mounted at /shared"

ARGUMENTS=''
for word in "${TRAIN[@]}"; do
  # A single-quoted word of YAML: within it a quote is doubled, and nothing else means anything.
  ARGUMENTS+="                    - '${word//\'/\'\'}'"$'\n'
done
TEXT=$(cat "$HERE/jobset.yaml")
for name in NAME IMAGE BUCKET ACCELERATOR TOPOLOGY HOSTS CHIPS SLICES RESTARTS; do
  TEXT=${TEXT//"{{$name}}"/"${!name}"}
done
TEXT=${TEXT//"                    - {{ARGUMENTS}}"/"${ARGUMENTS%$'\n'}"}
run_with_input "$TEXT" kubectl apply -f -

#!/usr/bin/env bash
# Trains on a Cloud TPU slice: makes the TPU VM (or waits for a queued one), copies the code, starts every worker.
#
#     launch/tpu_vm.sh create|queue|train|delete ... [--dry-run] [NAME=VALUE ...] -- --config=pod_v5e_16 --workdir=/shared/run
#
# Words: create makes the slice at once; queue asks for it as a queued resource, which Google gives when there is one;
# train installs and starts on all workers; delete gives it back. Restarts: call `train` again.
#   TPU=mvgen                name of the slice
#   ZONE=us-central2-b       zone
#   TYPE=v5litepod-16        accelerator type: v5litepod-16, v5p-512, v6e-256 ...
#   VERSION=v2-alpha-tpuv5-lite   software version of the TPU VM for that type
#   PROJECT=                 empty: gcloud's own
#   SPOT=0                   1: cheaper, and may be taken away; the run goes on from its last checkpoint
#   SETUP=:                  a line that each worker runs first: what mounts the file system that all of them share,
#                            such as: gcsfuse --implicit-dirs BUCKET /shared
#   VALID=6h                 how long a queued request stands

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$HERE/common.sh" || exit
TPU=mvgen ZONE=us-central2-b TYPE=v5litepod-16 VERSION=v2-alpha-tpuv5-lite PROJECT='' SPOT=0 VALID=6h SETUP=:
read_words "$@"
((${#OWN[@]})) || die "say what to do: create, queue, train, delete"

WHERE=(--zone="$ZONE")
[[ -n $PROJECT ]] && WHERE+=(--project="$PROJECT")
KIND=()
((SPOT)) && KIND=(--spot)

for word in "${OWN[@]}"; do
  case $word in
  create)
    run gcloud compute tpus tpu-vm create "$TPU" "${WHERE[@]}" --accelerator-type="$TYPE" --version="$VERSION" "${KIND[@]}"
    ;;
  queue)
    run gcloud compute tpus queued-resources create "$TPU" "${WHERE[@]}" --node-id="$TPU" --accelerator-type="$TYPE" \
      --runtime-version="$VERSION" --valid-until-duration="$VALID" "${KIND[@]}"
    ;;
  train)
    need_training_words
    run gcloud compute tpus tpu-vm scp --recurse --worker=all "${WHERE[@]}" "$HERE/.." "$TPU:mvgen"
    # --distributed: on a TPU VM the metadata server knows the other workers, and only when asked.
    run gcloud compute tpus tpu-vm ssh "$TPU" "${WHERE[@]}" --worker=all --command="$SETUP && cd mvgen && \
python3 -m pip install -q -c constraints.txt -e '.[tpu]' && python3 -m mvgen.main --distributed $(quoted "${TRAIN[@]}")"
    ;;
  delete) run gcloud compute tpus tpu-vm delete "$TPU" "${WHERE[@]}" --quiet ;;
  *) die "what is '$word'? create, queue, train or delete" ;;
  esac
done

#!/usr/bin/env bash
# Converts videos to records on a data engine: the same `python -m data_prep convert`, with Beam's options of the engine.
#
#     launch/data.sh direct|dataflow|flink|spark [--dry-run] [NAME=VALUE ...] -- --input DIR_OR_MANIFEST --out DIR [...]
#
#   WORKERS=16               workers, or processes of the direct runner
#   IMAGE=                   container of the workers, from launch/Containerfile (dataflow)
#   PROJECT= REGION=us-central1 BUCKET=    of Dataflow; BUCKET=gs://... is its scratch
#   MASTER=                  flink: host:port of the cluster (empty: a local one); spark: spark://host:port or local[4]
#   PYTHON=python            the interpreter

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$HERE/common.sh" || exit
WORKERS=16 IMAGE='' PROJECT='' REGION=us-central1 BUCKET='' MASTER='' PYTHON=${PYTHON:-python}
read_words "$@"
((${#TRAIN[@]})) || die "what to convert is missing: -- --input DIR_OR_MANIFEST --out DIR"

case ${OWN[0]:-} in
direct) OPTIONS=(--runner=DirectRunner --direct_num_workers="$WORKERS" --direct_running_mode=multi_processing) ;;
dataflow)
  [[ -n $PROJECT && -n $BUCKET && -n $IMAGE ]] || die "PROJECT=, BUCKET=gs://... and IMAGE= are missing"
  OPTIONS=(--runner=DataflowRunner --project="$PROJECT" --region="$REGION" --temp_location="$BUCKET/temp"
    --sdk_container_image="$IMAGE" --num_workers="$WORKERS" --max_num_workers="$WORKERS" --experiments=use_runner_v2)
  ;;
flink) OPTIONS=(--runner=FlinkRunner --flink_master="${MASTER:-[local]}" --parallelism="$WORKERS" --environment_type=LOOPBACK) ;;
spark) OPTIONS=(--runner=SparkRunner --spark_master_url="${MASTER:-local[$WORKERS]}" --environment_type=LOOPBACK) ;;
*) die "say which engine: direct, dataflow, flink or spark" ;;
esac
run "$PYTHON" -m data_prep convert "${TRAIN[@]}" "${OPTIONS[@]}"

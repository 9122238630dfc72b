#!/usr/bin/env bash
# Trains on GPUs of a Slurm cluster: one process a GPU, which find each other by Slurm's own variables.
#
#     launch/slurm.sh [--dry-run] [NAME=VALUE ...] -- --config=gpu_h100_8 --workdir=DIR --config.data.path=DIR
#
# Slurm sends SIGTERM two minutes before the time is up: the run saves and ends, and the job is queued again.
#   NODES=1  GPUS=8 (of a node)  HOURS=24  PARTITION= (empty: the cluster's own)  NAME=mvgen
#   SETUP=   a line to run first on each node, such as: source .venv/bin/activate

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$HERE/common.sh" || exit
NODES=1 GPUS=8 HOURS=24 PARTITION='' NAME=mvgen SETUP=:
read_words "$@"
need_training_words

OPTIONS=(--job-name="$NAME" --nodes="$NODES" --ntasks-per-node="$GPUS" --gpus-per-node="$GPUS" --time="$HOURS:00:00"
  --requeue --open-mode=append --signal=B:TERM@120 --output="$NAME-%j.log" --chdir="$(cd "$HERE/.." && pwd)")
[[ -n $PARTITION ]] && OPTIONS+=(--partition="$PARTITION")

run_with_input "#!/usr/bin/env bash
$SETUP
# The batch script is told that the time is up, and passes it on; a run that was stopped so (143) is queued again, and one
# that lost a process (75) too.
srun --kill-on-bad-exit=1 python -m mvgen.main $(quoted "${TRAIN[@]}") &
STEP=\$!
trap 'kill -TERM \$STEP' TERM
# A signal ends the waiting before the step has ended; a step that has ended already is waited for once, for its status.
wait \$STEP && STATUS=0 || STATUS=\$?
while kill -0 \$STEP 2>/dev/null; do wait \$STEP && STATUS=0 || STATUS=\$?; done
case \$STATUS in 143 | 75 | 137) scontrol requeue \"\$SLURM_JOB_ID\" ;; esac
exit \$STATUS" sbatch "${OPTIONS[@]}"

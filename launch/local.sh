#!/usr/bin/env bash
# Trains with N processes on this machine, and starts all of them again when one falls.
#
#     launch/local.sh N [--dry-run] [NAME=VALUE ...] -- --config=debug --workdir=DIR --config.data.path=DIR
#
# N=1 keeps one process going. A run that is complete ends with 0. A mistake in the command (status 2) is not tried again.
# SIGTERM and ctrl-C are passed on: every process saves, and nothing is started again.
#   CPU_DEVICES=0   devices of each process, where they are to be CPUs (0: as jax finds them)
#   RESTARTS=100    so often all are started again, at most
#   WAIT=2          seconds in between
#   PYTHON=python   the interpreter
#   PORT=           of the first process, where the others find it; empty: a free one

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$HERE/common.sh" || exit
CPU_DEVICES=0 RESTARTS=100 WAIT=2 PYTHON=${PYTHON:-python} PORT=''
read_words "$@"
need_training_words
COUNT=${OWN[0]:-}
[[ $COUNT =~ ^[1-9][0-9]*$ ]] || die "say how many processes: local.sh 2 -- ..."
cd "$HERE/.." || exit

free_port() {
  "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

PIDS=()
STOPPING=0

begin() {
  local number port=${PORT:-}
  local -a words
  ((DRY_RUN)) || [[ -n $port ]] || port=$(free_port)
  PIDS=()
  for ((number = 0; number < COUNT; number++)); do
    words=()
    ((COUNT > 1)) && words+=("JAX_COORDINATOR_ADDRESS=127.0.0.1:${port:-PORT}" "JAX_NUM_PROCESSES=$COUNT" "JAX_PROCESS_ID=$number")
    ((CPU_DEVICES)) && words+=(JAX_PLATFORMS=cpu "JAX_NUM_CPU_DEVICES=$CPU_DEVICES")
    words+=("$PYTHON" -m mvgen.main "${TRAIN[@]}")
    if ((DRY_RUN)); then
      quoted env "${words[@]}" && echo " &"
    else
      env "${words[@]}" &
      PIDS+=($!)
    fi
  done
}

# Waits for all; the first that falls takes the others with it. Leaves the first status that is not 0 in STATUS.
await() {
  local left=$COUNT status
  STATUS=0
  while ((left)); do
    status=0
    wait -n "${PIDS[@]}" 2>/dev/null || status=$?
    # A signal to this script ends the waiting, not a process.
    ((status > 128 && STOPPING == 1)) && STOPPING=2 && continue
    ((status == 127)) && break
    left=$((left - 1))
    if ((status && !STATUS)); then
      STATUS=$status
      ((STOPPING)) || end_all
    fi
  done
}

end_all() {
  local pid
  for pid in "${PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  (
    sleep 30
    for pid in "${PIDS[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  ) &
  KILLER=$!
}

stop() {
  ((STOPPING)) && return
  STOPPING=1
  local pid
  for pid in "${PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
}
trap stop TERM INT

KILLER=
for ((try = 0; ; try++)); do
  begin
  ((DRY_RUN)) && exit 0
  await
  [[ -n $KILLER ]] && kill "$KILLER" 2>/dev/null
  KILLER=
  ((STATUS == 0 || STATUS == 2 || STOPPING)) && exit "$STATUS"
  ((try < RESTARTS)) || die "a process ended with status $STATUS, and RESTARTS=$RESTARTS are used up"
  echo "local.sh: a process ended with status $STATUS; starting all $COUNT again" >&2
  sleep "$WAIT"
done

# What the launchers share: sourced by each, not run.
#
# Every launcher is called as
#     launch/NAME.sh [--dry-run] [NAME=VALUE ...] [words of its own] -- --config=base --workdir=DIR [--config.FIELD=VALUE ...]
# What stands behind -- goes to `python -m mvgen.main` as it is, the same everywhere: started again with the same
# words, a run goes on from its --workdir. NAME=VALUE sets what the launcher's head lists. --dry-run prints what would run.
# shellcheck shell=bash

set -euo pipefail

DRY_RUN=0
OWN=()   # words in front of --
TRAIN=() # words behind it

usage() {
  # The comment at the head of the script is its help.
  sed -n '2,/^$/{s/^# \{0,1\}//;p}' "$0"
}

read_words() {
  while (($#)); do
    case $1 in
    --) shift && TRAIN=("$@") && break ;;
    --dry-run) DRY_RUN=1 ;;
    -h | --help) usage && exit 0 ;;
    [A-Z]*=*) printf -v "${1%%=*}" '%s' "${1#*=}" ;;
    *) OWN+=("$1") ;;
    esac
    shift
  done
}

die() {
  echo "error: ${0##*/}: $*" >&2
  exit 2
}

need_training_words() {
  ((${#TRAIN[@]})) || die "what to train is missing: -- --config=NAME --workdir=DIR --config.data.path=DIR"
}

# Words quoted so that a shell reads them as they are.
quoted() {
  local word text=''
  for word in "$@"; do text+=" $(printf '%q' "$word")"; done
  printf '%s' "${text# }"
}

# Runs a command, or prints it.
run() {
  if ((DRY_RUN)); then
    quoted "$@" && echo
    return
  fi
  command -v "$1" >/dev/null || die "$1 is not installed"
  "$@"
}

# Gives a command a text on its standard input, or prints both.
run_with_input() {
  local input=$1 && shift
  if ((DRY_RUN)); then
    quoted "$@" && printf ' <<END\n%s\nEND\n' "$input"
    return
  fi
  command -v "$1" >/dev/null || die "$1 is not installed"
  "$@" <<<"$input"
}

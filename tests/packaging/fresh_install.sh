#!/usr/bin/env bash
# Installs what was built into a new environment outside of the repository, and uses it from an empty folder: both
# directions with the core alone, then Recital's round trip with the extras. Slow (minutes), 3 GB. `make wheel` calls it.
#
#     PYTHON=python3.12 bash tests/packaging/fresh_install.sh DIST
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dist=$(cd "$1" && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset PYTHONPATH
"${PYTHON:-python3}" -m venv "$place/env"
pip=("$place/env/bin/python" -m pip install -q --disable-pip-version-check -c "$repository/constraints.txt")
python=$place/env/bin/python mvgen=$place/env/bin/mvgen
wheel=$(ls "$dist"/mvgen-*.whl)
mkdir "$place/empty" && cd "$place/empty"

"${pip[@]}" "$wheel"
"$mvgen" --version
for command in generate sync retrieve studio train evaluate export robustness ablate bench train_compile; do
    "$mvgen" $command --help >/dev/null
done
# A performance without data_prep's extras: a moving square and a tone, by what the core itself writes.
"$python" - <<'EOF'
import numpy as np
from mvgen.media import write_video
frames = np.zeros((50, 128, 128, 3), np.uint8)
for number, frame in enumerate(frames):
    frame[40:80, number : number + 40] = 255
write_video("square.mp4", frames, np.sin(np.arange(64000) * 0.1).astype(np.float32) / 4, 32000)
EOF
"$mvgen" generate music --video square.mp4 --seconds 1 --out music.mp4
"$mvgen" generate video --image square.mp4 --audio square.mp4 --seconds 1 --out film.mp4

"${pip[@]}" "$wheel[prep,eval]"
"${pip[@]}" --no-deps tinysoundfont
"$python" -m pip check
"$python" -m data_prep recital --records --out records --clips 12 --seconds 3
"$python" -m data_prep inspect --records records
"$mvgen" train --config=debug --workdir=run --config.data.path=records
"$mvgen" generate records --checkpoint run --records records --limit 1 --out made
"$python" -m data_prep recital --out films --clips 2 --seconds 3 --instruments strings,drums
"$mvgen" generate music --checkpoint run --video films/drums-00001.mp4 --out "films music.mp4"
"$mvgen" generate video --image films/drums-00001.mp4 --audio films/drums-00001.mid --seconds 1 --out notes.mp4
"$mvgen" evaluate --reference films --generated films --parts sound
echo "the wheel works: $("$mvgen" --version), $("$python" --version)"

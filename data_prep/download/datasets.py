"""The data sets that ``download`` knows: what they consist of, their licence, how they are obtained.

docs/data.md says more of each, with sources. A data set of one's own is described by a JSON file with the same fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.download.fetch import Item
from data_prep.download.ids import WATCH
from mvgen.errors import UserError

_GITHUB = "https://raw.githubusercontent.com"
_MUSIC = f"{_GITHUB}/roudimit/MUSIC_dataset"
_FOLEY = f"{_GITHUB}/chuangg/Foley-Music/dcc2638fddad0c268a70510f698ec8d86e6a4cae/resources/AtinPiano"
_FAIR_PLAY = "http://dl.fbaipublicfiles.com/FAIR-Play"
VIDEOS = "of each video's own; the list grants no right to the videos"


@dataclass(frozen=True)
class Dataset:
    """What a data set consists of.

    Attributes:
        name: as the command line and the manifest say it.
        licence: of its videos.
        files: to fetch as they are; archives (.tar.gz) are unpacked, and then removed.
        lists: of video ids (:mod:`data_prep.download.ids`), whose videos yt-dlp fetches.
        labels: of every video, beside those that a list gives.
        address: of a video, with ``{id}``.
        by_hand: how to obtain what cannot be fetched by program; empty where it can.
    """

    name: str
    licence: str
    files: tuple[Item, ...] = ()
    lists: tuple[Item, ...] = ()
    labels: tuple[str, ...] = ()
    address: str = WATCH
    by_hand: str = ""


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "fair-play",
            "CC-BY-4.0",
            files=tuple(
                Item(f"{_FAIR_PLAY}/{name}.tar.gz", f"{name}.tar.gz") for name in ("videos", "audios", "splits")
            ),
        ),
        Dataset(
            "urmp",
            "CC0-1.0",
            by_hand="Dryad gives it to browsers (https://doi.org/10.5061/dryad.ng3r749, one archive of 12 GB); unpack "
            "it and say `convert --input FOLDER`, the folder that holds 01_Jupiter_vn_vc and the others",
        ),
        Dataset(
            "solos",
            VIDEOS,
            lists=(
                Item(
                    f"{_GITHUB}/JuanFMontesinos/Solos/3b81e7416692dbd67c4c4885791a2a231544b79d"
                    "/Solos/json_files/solos_ids.json",
                    "lists/solos_ids.json",
                ),
            ),
        ),
        Dataset(
            "music",
            VIDEOS,
            lists=tuple(
                Item(f"{_MUSIC}/a10922da2d04fb04eba7bdf59ea9073c1f9a4bda/{name}", f"lists/{name}")
                for name in ("MUSIC_solo_videos.json", "MUSIC_duet_videos.json")
            ),
        ),
        Dataset(
            "music21",
            VIDEOS,
            lists=(
                Item(
                    f"{_MUSIC}/4b9dabe65f145eaff2adcbe983e638c97ad0451a/MUSIC21_solo_videos.json",
                    "lists/MUSIC21_solo_videos.json",
                ),
            ),
        ),
        Dataset(
            "atinpiano",
            VIDEOS,
            lists=tuple(Item(f"{_FOLEY}/{name}.csv", f"lists/{name}.csv") for name in ("train", "val")),
            labels=("piano",),
        ),
        Dataset(
            "avsync15",
            VIDEOS,
            by_hand="its authors give the videos through https://github.com/lzhangbj/ASVA; or fetch them by a list of "
            "ids in VGGSound's form (id, start, label, split): --list FILE.csv",
        ),
    )
}


def find_dataset(name: str) -> Dataset:
    """A data set by its name, or by a JSON file that describes it.

    Such a file holds ``files`` and ``lists`` (each a list of objects with ``url``, ``path`` and if known ``size``,
    ``sha256`` or ``md5``), and if wanted ``name``, ``licence``, ``labels`` and ``address``.

    Raises:
        UserError: there is no such data set, or the file cannot be understood.
    """
    if name in DATASETS:
        return DATASETS[name]
    path = Path(name)
    if path.suffix.lower() != ".json" or not path.is_file():
        raise UserError(
            f"no data set is called {name!r}; there are {', '.join(DATASETS)}, or a .json that describes one"
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Dataset(
            name=str(told.get("name", path.stem)),
            licence=str(told.get("licence", "")),
            files=tuple(_item(one) for one in told.get("files", ())),
            lists=tuple(_item(one) for one in told.get("lists", ())),
            labels=tuple(str(label) for label in told.get("labels", ())),
            address=str(told.get("address", WATCH)),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} does not describe a data set: {type(error).__name__}: {error}") from None


def _item(told: Any) -> Item:
    size = told.get("size")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise ValueError(f"size {size!r} of {told['url']} is not a number of bytes")
    sha256, md5 = (told[name] and str(told[name]) if name in told else None for name in ("sha256", "md5"))
    return Item(str(told["url"]), str(told["path"]), size, sha256, md5)

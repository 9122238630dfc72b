"""A folder of records, as it is left on disk: shards, what TFDS needs, what made them, the manifest.

    recital-train.tfrecord-00000-of-00004 ...   the records (:mod:`mvgen.data.records`)
    features.json, dataset_info.json            ``tfds.builder_from_directory(DIR)`` opens the folder by these
    mvgen_records.json                          sizes, codec and weight hash, settings, versions, records in each split
    manifest.jsonl                              one line a clip: used or refused, the reason, licence, split, records

Everything is built in a folder beside the target that takes its place at the end (:mod:`data_prep.convert.replacing`),
so a run that is stopped leaves either the old records or the new ones, never half of them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from data_prep.convert.replacing import replacing_folder
from data_prep.sources.manifest import MANIFEST_FILE, SPLITS
from mvgen.data.index import index_shards, write_description
from mvgen.data.records import (
    DATASET_NAME,
    TEXT_FEATURES,
    Record,
    RecordSpec,
    encode_record,
    frame_tfrecord,
)
from mvgen.errors import UserError


def split_of(source_id: str, test_percent: float) -> str:
    """ "train" or "test", by a hash of the source id alone: the same on every machine, whatever else is converted."""
    place = int.from_bytes(hashlib.sha256(source_id.encode()).digest()[:8], "big") / 2**64
    return "test" if place * 100 < test_percent else "train"


def shard_name(split: str, shard: int, shards: int) -> str:
    """File name of a shard, in TFDS's pattern."""
    return f"{DATASET_NAME}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"


def versions() -> dict[str, str]:
    """Versions of what the contents of records depend on."""
    names = ("mvgen", "numpy", "av", "opencv-python-headless", "soxr", "torch", "transformers")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def made_by(codec: str, codec_sha256: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What ``mvgen_records.json`` says of the making: the codec exactly, every setting, the versions."""
    return {"codec": codec, "codec_sha256": codec_sha256, "settings": dict(settings), "versions": versions()}


def tfds_features(spec: RecordSpec) -> Any:
    """The records as a ``tfds.features.FeaturesDict``: text, and tensors stored as raw bytes."""
    import tensorflow_datasets as tfds

    tensor = tfds.features.Tensor
    arrays = {
        name: tensor(
            shape=shape,
            dtype=dtype.newbyteorder("=").type,
            encoding="bytes",
            doc=", ".join(spec.landmarks) if name == "landmarks" else None,
        )
        for name, (shape, dtype) in spec.features().items()
    }
    return tfds.features.FeaturesDict({**{name: tfds.features.Text() for name in TEXT_FEATURES}, **arrays})


def describe_folder(
    folder: Path, spec: RecordSpec, made: Mapping[str, Any], manifest: Iterable[Mapping[str, Any]]
) -> dict[str, int]:
    """Writes everything that goes beside the shards already in ``folder``; returns the records of each split."""
    paths = {split: sorted(folder.glob(f"{DATASET_NAME}-{split}.tfrecord-*")) for split in SPLITS}
    index = {split: index_shards(paths[split], spec, f"indexing {split}") for split in SPLITS}
    lengths = {split: [len(shard["frames"]) for shard in index[split].values()] for split in SPLITS}
    sizes = {split: sum(path.stat().st_size for path in paths[split]) for split in SPLITS}
    counts = {split: sum(lengths[split]) for split in SPLITS}
    # Names of files may hold bytes that are no UTF-8: they come out as JSON's own escapes, and back as they were.
    with open(folder / MANIFEST_FILE, "w", encoding="utf-8", errors="backslashreplace") as file:
        for line in manifest:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    write_description(folder, {"spec": spec.to_json(), "made_by": dict(made), "splits": counts, "index": index})
    _describe_for_tfds(folder, spec, lengths, sizes)
    return counts


def _describe_for_tfds(
    folder: Path, spec: RecordSpec, lengths: Mapping[str, list[int]], sizes: Mapping[str, int]
) -> None:
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        # A training machine can make Recital records without TFDS; mvgen itself reads them all the same.
        print("note: tensorflow-datasets is not installed, so features.json and dataset_info.json were not written "
              "(mvgen does not need them)", file=sys.stderr)  # fmt: skip
        return
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=tfds_features(spec),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths[split],
                num_bytes=sizes[split],
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=folder,
                    template=template,
                    dataset_name=DATASET_NAME,
                    split=split,
                    filetype_suffix="tfrecord",
                ),
            )
            for split in SPLITS
            if lengths[split]
        ],
        filename_template=template,
        check_data=False,
        description="Clips of musical performance as mvgen's aligned records; see mvgen_records.json.",
    )


def write_records(
    out: str | os.PathLike[str],
    records: Iterable[tuple[str, Record]],
    spec: RecordSpec,
    made: Mapping[str, Any],
    manifest: list[dict[str, Any]],
    shards: int = 4,
) -> dict[str, int]:
    """Writes a whole folder of records in this process, without Beam, as they come: memory holds one at a time.

    Args:
        out: the folder; replaced when it is a folder of records already.
        records: (split, record) pairs; record n of a split goes to shard ``n % shards``.
        made: see :func:`made_by`.
        manifest: one dict a clip. It is read after the last record, so a generator of records may still add to it.
        shards: of each split.

    Returns:
        Records in each split.

    Raises:
        UserError: no record came, or ``out`` may not be replaced. ValueError: a record does not fit the spec.
    """
    with replacing_folder(out) as folder:
        counts = dict.fromkeys(SPLITS, 0)
        with ExitStack() as stack:
            files: dict[tuple[str, int], IO[bytes]] = {}
            for split, record in records:
                shard = (split, counts[split] % shards)
                if shard not in files:
                    files[shard] = stack.enter_context(open(folder / f"{split}-{shard[1]}", "wb"))
                files[shard].write(frame_tfrecord(encode_record(record, spec)))
                counts[split] += 1
        if not any(counts.values()):
            raise UserError("there is not one record to write")
        # Only now is it known how many shards a small split has.
        for split, shard_number in files:
            used = min(shards, counts[split])
            os.replace(folder / f"{split}-{shard_number}", folder / shard_name(split, shard_number, used))
        return describe_folder(folder, spec, made, manifest)

"""Checkpoints: the training state and the data position together, and the model in them for those who only use it.

A working folder holds::

    WORKDIR/config.json                the whole configuration
    WORKDIR/records.json               what the records were: their spec and what made them
    WORKDIR/checkpoints/STEP/state     parameters, their average, optimizer state (Orbax)
    WORKDIR/checkpoints/STEP/data      position in the data and time spent (JSON)

    WORKDIR/damaged/STEP               a checkpoint that could not be read and was set aside

An exported model is used in its place by all that does not train on: the two descriptions beside ``model.safetensors``
(:mod:`mvgen.training.weights_file`).

A checkpoint appears under its name only when it is whole; a run killed while it writes one goes on from the one before.
Beside the position stands a checksum of every array: the storage library checks those of its own structures, and gives
back most flipped bits of the arrays themselves without a word.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from mvgen.data.index import DESCRIPTION_FILE
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.files import write_json
from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen
from mvgen.training import sharding
from mvgen.training.compilation import keep_compiled
from mvgen.training.early_stopping import best_saved
from mvgen.training.step import Params, TrainState, abstract_model
from mvgen.training.weights_file import WEIGHTS_FILE, read_about, read_weights

CONFIG_FILE = "config.json"
RECORDS_FILE = "records.json"
FOLDER = "checkpoints"
ASIDE = "damaged"
MOST_NAMED = 8
"""Fields that one message names."""
UNFINISHED = ".orbax-checkpoint-tmp"
"""In the names of folders that Orbax has not finished."""
CHECKSUMS = "checksums"
"""Beside the position in a checkpoint's data; :func:`checksums`."""
STORAGE_ERRORS = (OSError, ValueError, RuntimeError)
"""What writing raises where the disk is full or gone: Orbax has the first, its C++ part the others."""


def write_description(workdir: Path, config: ConfigDict, records: dict[str, Any]) -> None:
    """Writes what a checkpoint needs to be understood: the configuration, and the records' ``spec`` and ``made_by``."""
    write_json(workdir / RECORDS_FILE, {"spec": records["spec"], "made_by": records.get("made_by", {})})
    write_json(workdir / CONFIG_FILE, config.to_dict())


def read_description(workdir: Path) -> tuple[ConfigDict, dict[str, Any]]:
    """The inverse of :func:`write_description`. Raises ``UserError`` when the folder holds no such files."""
    try:
        config = ConfigDict(json.loads((workdir / CONFIG_FILE).read_text()))
        records = json.loads((workdir / RECORDS_FILE).read_text())
        RecordSpec.from_json(records["spec"])
    except (FileNotFoundError, NotADirectoryError):
        if (workdir / DESCRIPTION_FILE).is_file():
            raise UserError(f"{workdir} holds records; name the --workdir of a run that was trained on them") from None
        raise UserError(
            f"{workdir} is not a checkpoint: it has no {CONFIG_FILE} and {RECORDS_FILE}; "
            "name the --workdir of a training run, or a step in its folder checkpoints"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{workdir} is not a readable checkpoint: {error}") from None
    return config.lock(), records


class Damaged(UserError):
    """A checkpoint whose files are not what was written."""


@dataclasses.dataclass(frozen=True)
class _NewestAndBest(ocp.checkpoint_managers.PreservationPolicy):
    """Which checkpoints Orbax keeps when there is a new one."""

    newest: int
    best: Callable[[Collection[int]], int | None]

    def should_preserve(
        self,
        checkpoints: Sequence[ocp.checkpoint_managers.PolicyCheckpointInfo],
        *,
        context: ocp.checkpoint_managers.PreservationContext,
    ) -> list[bool]:
        steps = [each.step for each in checkpoints]
        kept = {*sorted(steps)[-self.newest :], self.best(steps)}
        return [step in kept for step in steps]


class Checkpoints:
    """The checkpoints of one working folder.

    Saving copies the state to the host and goes on; writing happens beside the training.

    Args:
        workdir: the working folder; made when missing.
        keep: how many checkpoints are kept, the newest.
        best: which of some steps is kept beside these, if one is.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        keep: int = 1,
        best: Callable[[Collection[int]], int | None] = lambda steps: None,
    ):
        self.workdir = Path(workdir).absolute()
        self.folder = self.workdir / FOLDER
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_NewestAndBest(keep, best), create=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self.folder, item_names=("state", "data"), options=options)
        self._writing: int | None = None

    def latest(self) -> int | None:
        """The newest whole checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, position: dict[str, Any]) -> None:
        """Saves unless this step is saved already. ``position`` is what ``restore`` gives back (JSON).

        Writing goes on after this returns; both may be changed meanwhile.

        Raises:
            OSError, ValueError: as :meth:`trouble` gives them, where that is known before this returns.
        """
        if step in self._manager.all_steps():
            return
        tree = _as_dict(state)
        # Orbax copies the arrays before it returns, but turns the position into text only when it writes.
        position = {**copy.deepcopy(position), CHECKSUMS: checksums(tree)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(tree), data=ocp.args.JsonSave(position))
        self._writing = step
        try:
            self._manager.save(step, args=items)
        except STORAGE_ERRORS:
            self._forget_unfinished()
            raise

    def trouble(self, wait: bool = False) -> str:
        """Why the newest save failed; empty where it did not, is still being written (see ``wait``), or was told."""
        if self._writing is None or not wait and self._manager.is_saving_in_progress():
            return ""
        try:
            self._manager.wait_until_finished()
        except STORAGE_ERRORS as error:
            self._forget_unfinished()
            return _first_line(error)
        self._writing = None
        return ""

    def _forget_unfinished(self) -> None:
        """Takes away what a failed save has left, which takes room that the next one needs."""
        self._writing = None
        if jax.process_index() == 0:
            for path in self.folder.glob(f"*{UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Restores a checkpoint into the shardings of ``abstract``, on whatever mesh it was made.

        Raises:
            Damaged: it cannot be read, or holds something else than was saved.
            UserError: it does not hold what ``abstract`` describes (each mismatch is named).
        """
        target = _as_dict(abstract)
        _check(self.folder / str(step) / "state", target)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(target), data=ocp.args.JsonRestore())
        try:
            restored = self._manager.restore(step, args=items)
        except MemoryError:
            raise
        except Exception as error:  # damaged files raise whatever the storage library has
            if "RESOURCE_EXHAUSTED" in str(error):  # no memory for it: nothing is wrong with the files
                raise
            raise Damaged(f"the checkpoint {self.folder / str(step)} cannot be read ({_first_line(error)})") from error
        position = dict(restored.data)
        saved = position.pop(CHECKSUMS, None)  # older checkpoints have none
        found = checksums(restored.state) if saved is not None else None
        if found != saved:
            names = [name for name in saved if saved[name] != found.get(name)]  # type: ignore[union-attr]
            raise Damaged(
                f"the checkpoint {self.folder / str(step)} is damaged: {len(names)} arrays are not what was saved, "
                f"{names[0]} the first of them"
            )
        return TrainState(**restored.state), position

    def restore_newest(self, abstract: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest checkpoint that can be read; ``None`` where there is none at all.

        One that is damaged is named on stderr and set aside, and the one before it is tried.

        Raises:
            UserError: the newest does not fit (see :meth:`restore`), or all are damaged.
        """
        while (step := self.latest()) is not None:
            try:
                return self.restore(step, abstract)
            except Damaged as error:
                earlier = [other for other in self._manager.all_steps() if other < step]
                if not earlier:
                    raise UserError(f"{error}, and there is no earlier one; begin anew in another --workdir") from error
                aside = self._set_aside(step)
                print(f"warning: {error}; it is set aside as {aside}, step {max(earlier)} is taken", file=sys.stderr)
        return None

    def _set_aside(self, step: int) -> Path:
        folder = self.workdir / ASIDE
        aside = folder / str(step)
        if jax.process_index() == 0:
            folder.mkdir(exist_ok=True)
            number = 1
            while aside.exists():
                number += 1
                aside = folder / f"{step}-{number}"
            (self.folder / str(step)).rename(aside)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"set aside {step}")
        self._manager.reload()
        return aside

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def checksums(tree: Any) -> dict[str, int]:
    """Of each array by name the sum of its bytes as 32-bit words, modulo 2**64: the same on every mesh.

    Every device's share is counted once; where there are several processes, they add up what they hold.
    """

    def words(leaf: Any) -> int:
        total = 0
        for shard in leaf.addressable_shards if isinstance(leaf, jax.Array) else ():
            if shard.replica_id == 0:
                data = np.asarray(jax.device_get(shard.data)).reshape(-1)
                kind = {1: np.uint8, 2: np.uint16, 8: np.uint64}.get(data.itemsize, np.uint32)
                total += int(data.view(kind).sum(dtype=np.uint64))
        return total % 2**64

    mine = {sharding.path_name(path): words(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    if jax.process_count() == 1:
        return mine
    # In two halves: arrays of 64 bits become 32 on the way through the devices.
    halves = np.array([[value & 0xFFFFFFFF, value >> 32] for value in mine.values()], np.uint32)
    with jax.transfer_guard("allow"):
        every = multihost_utils.process_allgather(halves).astype(object)
    totals = (every[..., 0] + every[..., 1] * 2**32).sum(axis=0) % 2**64
    return {name: int(total) for name, total in zip(mine, totals, strict=True)}


def saved_steps(workdir: Path) -> list[int]:
    """Steps of the checkpoints in a working folder, which need not be there, in no order."""
    folder = workdir / FOLDER
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []


def find(checkpoint: str | os.PathLike[str]) -> tuple[Path, int]:
    """Working folder and step of a checkpoint named by its working folder or as ``.../STEP``; or an exported model's
    folder, and the step that it was exported at.

    Of a working folder the newest step is taken; where the run stops early (``config.train.stop_after``), the best on
    held-out records.

    Raises:
        UserError: it is neither.
    """
    given = Path(checkpoint).absolute()
    if not given.is_dir():
        told = "a file; name its folder" if given.is_file() else "no such folder"
        raise UserError(f"{checkpoint} is not a checkpoint: {told}")
    if given.parent.name == FOLDER and given.name.isdigit() and (given.parent.parent / CONFIG_FILE).is_file():
        return given.parent.parent, int(given.name)
    config, _ = read_description(given)
    if (given / WEIGHTS_FILE).is_file():
        return given, int(read_about(given / WEIGHTS_FILE).get("step", 0))
    steps = saved_steps(given)
    if not steps:
        raise UserError(f"{checkpoint} holds no checkpoint yet: {FOLDER} is empty")
    best = best_saved(given, steps) if config.get("train", {}).get("stop_after") else None
    return given, max(steps) if best is None else best


def load_params(
    checkpoint: str | os.PathLike[str], ema: bool = True
) -> tuple[nnx.GraphDef, Params, ConfigDict, dict[str, Any]]:
    """Parameters of a checkpoint, on the first device.

    Args:
        checkpoint: a working folder (its newest checkpoint), ``WORKDIR/checkpoints/STEP``, or an exported model.
        ema: the averaged parameters, or else the last ones; an exported model has those that it was exported with.

    Returns:
        The model without its parameters, the parameters, the run's configuration, and its records' description.

    Raises:
        UserError: it is not a checkpoint, or does not hold the parameters that its configuration describes.
    """
    workdir, step = find(checkpoint)
    config, records = read_description(workdir)
    try:
        graphdef, params = abstract_model(config, RecordSpec.from_json(records["spec"]))
    except (TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{workdir / CONFIG_FILE} is of another version of mvgen: {_first_line(error)}") from error
    if (workdir / WEIGHTS_FILE).is_file():
        return graphdef, read_weights(workdir / WEIGHTS_FILE, params), config, records
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = {
        "ema" if ema else "params": jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), params
        )
    }
    folder = workdir / FOLDER / str(step) / "state"
    _check(folder, target, partial=True)
    restore = ocp.args.PyTreeRestore(
        item=target, restore_args=ocp.checkpoint_utils.construct_restore_args(target), partial_restore=True
    )
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            (restored,) = reader.restore(folder, args=restore).values()
    except Exception as error:  # damaged files raise whatever the storage library has
        raise UserError(f"the checkpoint {folder.parent} cannot be read: {_first_line(error)}") from error
    return graphdef, restored, config, records


def is_run(name: str) -> bool:
    """Whether a name is the working folder of a run, or one of its checkpoints: not whether it holds one yet."""
    given = Path(name).absolute()
    workdir = given.parent.parent if given.parent.name == FOLDER else given
    return (workdir / CONFIG_FILE).is_file() and (workdir / RECORDS_FILE).is_file()


def trained_params(checkpoint: str, wanted: Params, spec: RecordSpec, anew: Collection[str] = ()) -> Params:
    """Averaged parameters of another run to start from, in host memory.

    Args:
        checkpoint: as for :func:`load_params`.
        wanted: the new run's parameters, or their shapes.
        spec: of the new run's records.
        anew: parts of the model that may be of another shape, or not there: such a one is left out, which stderr says.
            So is a part that the new run's model has not.

    Raises:
        UserError: it is not a checkpoint, its model is another (each mismatch is named), or its tokens are of another
            codec.
    """
    _, params, _, records = load_params(checkpoint)
    codec = records["spec"].get("codec")
    if codec != spec.codec:
        raise UserError(f"{checkpoint} was trained on tokens of the codec {codec}, these records hold {spec.codec}'s")
    for part in sorted(set(params) - set(wanted)):
        print(f"{part} is left out: in {checkpoint} there is one, in this model there is none", file=sys.stderr)
        params.pop(part)
    for part in anew:
        if _mismatches(_shapes({part: params.get(part, {})}), _shapes({part: wanted[part]})):
            print(f"{part} begins anew: in {checkpoint} it is of another shape, or there is none", file=sys.stderr)
            params.pop(part, None)
            wanted = {name: values for name, values in wanted.items() if name != part}
    wrong = _mismatches(_shapes(params), _shapes(wanted))
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"the model in {checkpoint} is another: {'; '.join(wrong[:3])}{more}")
    return jax.device_get(params)


def first_origin(init_from: str) -> str:
    """What a run that starts from other runs began with in the end: a MusicGen's name, "" for random numbers, or the
    name of a run that is no longer there."""
    seen = set()
    while init_from and init_from not in seen and is_run(init_from):
        seen.add(init_from)
        init_from = read_description(find(init_from)[0])[0].get("init_from") or ""
    return init_from


def load_model(checkpoint: str | os.PathLike[str], ema: bool = True) -> tuple[MVGen, ConfigDict, RecordSpec]:
    """The model of a checkpoint; see :func:`load_params`."""
    keep_compiled()
    graphdef, params, config, records = load_params(checkpoint, ema)
    return nnx.merge(graphdef, params), config, RecordSpec.from_json(records["spec"])


def check_same_model(workdir: Path, config: ConfigDict, records: dict[str, Any]) -> None:
    """Refuses to go on with another model, other records or another seed than the folder's run began with.

    Raises:
        UserError: names the fields that differ, as they were and as they are.
    """
    before, records_before = read_description(workdir)
    pairs = [("config.seed", before.seed, config.seed)]
    pairs += [("config.init_from", before.get("init_from") or "", config.init_from)]
    # A field that was not there yet had its default.
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(MVGenConfig)
        if field.default is not dataclasses.MISSING
    }
    old, new = (defaults | model.to_dict() for model in (before.model, config.model))
    pairs += [(f"config.model.{name}", old.get(name), new.get(name)) for name in sorted({*old, *new})]
    old, new = (RecordSpec.from_json(told["spec"]).to_json() for told in (records_before, records))
    pairs += [(f"the records' {name}", old.get(name), new.get(name)) for name in sorted({*old, *new})]
    differ = [f"{name} = {was!r}, now it is {now!r}" for name, was, now in pairs if was != now]
    if differ:
        more = f"; and {len(differ) - MOST_NAMED} more" if len(differ) > MOST_NAMED else ""
        raise UserError(f"{workdir} holds a run with {'; '.join(differ[:MOST_NAMED])}{more}; use another --workdir")


def _as_dict(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "ema", "opt_state")}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {sharding.path_name(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _mismatches(found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> list[str]:
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in wanted]
    differ = [name for name in wanted if name in found and found[name] != wanted[name]]
    return wrong + [f"{name} is {found[name]}, not {wanted[name]}" for name in differ]


def _check(folder: Path, target: dict[str, Any], partial: bool = False) -> None:
    """Compares names and shapes in a checkpoint with those wanted; the storage library pads and drops silently."""
    try:
        held = ocp.PyTreeCheckpointHandler().metadata(epath.Path(folder)).tree
    except Exception as error:  # damaged files raise whatever the storage library has
        raise Damaged(f"{folder.parent} is not a readable checkpoint: {_first_line(error)}") from error
    found = _shapes({name: held[name] for name in target if name in held} if partial else held)
    wrong = _mismatches(found, _shapes(target))
    if wrong:
        # A parameter that differs does so in its average and its moments as well: once is enough.
        wrong = [words for words in wrong if words.startswith("params/")] or wrong
        raise UserError(f"{folder.parent} does not fit this model: {'; '.join(wrong)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

"""Tables of clips: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvgen.data.groups import Told, read_groups, told_of
from mvgen.errors import UserError

REAL = Path(__file__).parents[3] / "docs" / "real-clips.csv"


def test_a_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\ufeffclip,group,labels\na,one, bowed ; violin\nb,one,\nc,,percussion\n", encoding="utf-8")
    table = read_groups(path)
    assert table == {"a": Told("one", ("bowed", "violin")), "b": Told("one", ()), "c": Told("c", ("percussion",))}
    assert (table["a"].family, table["b"].family) == ("bowed", "unknown")
    assert told_of("d", table) == Told("d", ())
    for text, said in (("clip,labels\n", "no column 'group'"), ("clip,group,labels\na,,\na,,\n", "line 3: a again"),
                       ("clip,group,labels\n,x,\n", "names no clip")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            read_groups(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_groups(tmp_path / "gone.csv")


def test_the_table_of_real_clips_keeps_cuts_of_one_video_together() -> None:
    table = read_groups(REAL)
    assert len(table) == 39 and len({told.group for told in table.values()}) == 38
    assert table["piano_topview_a_10s"].group == table["piano_topview_b_10s"].group
    assert {told.family for told in table.values()} == {
        "bowed", "keyboard", "percussion", "plucked", "several", "wind"
    }  # fmt: skip

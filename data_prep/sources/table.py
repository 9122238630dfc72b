"""Rows of a manifest as people make them: JSON lines, or a table with any usual separator, quoting, case and spaces.

Spreadsheets of many countries separate by semicolons, write UTF-16 or a byte-order mark, and people write ``Path`` for
``path`` and put a space behind each comma. All of that is read. A column that is nearly one of those known is an error,
because it would else be carried along unheeded: a test clip under ``spilt`` would land in train.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mvgen.errors import UserError

SEPARATORS = ",;\t|"
KNOWN = ("clip_id", "path", "source_id", "labels", "licence", "split", "notes", "sound")
"""Columns that mean something; others are carried along as they are."""
CLOSE = 0.82
"""Likeness (difflib) from which on an unknown column is taken for a slip."""


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) for every line of a ``.jsonl``, ``.csv`` or ``.tsv`` file, its known columns named as ours.

    Raises:
        UserError: a line cannot be understood, or a column is nearly a known one; the line is named. OSError,
            csv.Error: the file cannot be read.
    """
    text = _decoded(path)
    rows = _jsonl_rows(text, path) if path.suffix.lower() == ".jsonl" else _table_rows(text, path)
    for where, row in rows:
        yield where, _tidy(row, where)


def _decoded(path: Path) -> str:
    """The text of a file: UTF-8; or UTF-16 or UTF-32 where it begins with their mark, or every other of its first
    bytes is zero, as in Latin letters of UTF-16. Raises ``UserError`` where it is none of them."""
    data = path.read_bytes()
    head, coding = data[:16], "utf-8-sig"
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        coding = "utf-32"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        coding = "utf-16"
    elif len(head) >= 4 and (not any(head[1::2]) or not any(head[::2])):
        coding = "utf-16-le" if not any(head[1::2]) else "utf-16-be"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        line, coding = data[: error.start].count(b"\n") + 1, coding.removesuffix("-sig").upper()
        raise UserError(f"{path} line {line} is not {coding} text; save it as UTF-8") from None


def _jsonl_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{where} is not a JSON object")
        yield where, row


def _table_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = text.splitlines(keepends=True)
    # Excel's own way to say what separates.
    declared = lines[0].strip()[4:] if lines and lines[0].lower().startswith("sep=") else ""
    skipped = 1 if declared else 0
    first = next((number for number, line in enumerate(lines) if number >= skipped and line.strip()), None)
    if first is None:
        return
    header = lines[first]
    separator = declared[:1] or max(SEPARATORS, key=lambda each: _outside_quotes(header, each))
    reader = csv.reader(lines[first:], delimiter=separator, quotechar=_quote(header), skipinitialspace=True)
    names = [name.strip() for name in next(reader)]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise UserError(f"{path} line {first + 1} names the column {twice!r} twice")
    for values in reader:
        where = f"{path} line {first + reader.line_num}"
        if not any(value.strip() for value in values):
            continue
        if len(values) > len(names) and any(value.strip() for value in values[len(names) :]):
            raise UserError(f"{where} holds {len(values)} values, the header names {len(names)} columns; quote what "
                            f"holds {separator!r}")  # fmt: skip
        yield where, {name: value.strip() for name, value in zip(names, values, strict=False) if name and value.strip()}


def _outside_quotes(line: str, separator: str) -> int:
    """How often a separator stands in a line outside quotation marks."""
    count, inside = 0, ""
    for char in line:
        if inside:
            inside = "" if char == inside else inside
        elif char in "\"'":
            inside = char
        else:
            count += char == separator
    return count


def _quote(header: str) -> str:
    """The quotation mark of a table: single ones where its header uses them, else double ones."""
    return "'" if header.lstrip().startswith("'") else '"'


def _tidy(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row with its known columns named as ours, whatever their case and spaces."""
    tidy: dict[str, Any] = {}
    for given, value in row.items():
        name = str(given).strip()
        plain = name.lower().replace(" ", "_").replace("-", "_")
        if plain == "license":
            plain = "licence"
        if plain in KNOWN:
            if plain in tidy:
                raise UserError(f"{where} gives {plain!r} twice, once as {given!r}")
            tidy[plain] = value.strip() if isinstance(value, str) else value
            continue
        exchanged = [each for each in KNOWN if sorted(each) == sorted(plain)]
        meant = next(iter([*exchanged, *difflib.get_close_matches(plain, KNOWN, 1, CLOSE)]), None)
        if meant is not None and meant not in {str(each).strip().lower() for each in row}:
            raise UserError(f"{where}: the column {name!r} is not known; is it {meant!r}? Known are {', '.join(KNOWN)}")
        tidy[name] = value
    return tidy

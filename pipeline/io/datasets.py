"""Folders of Hugging Face datasets: which files describe the data and are no records.

`Dataset.save_to_disk` writes state.json, dataset_info.json and data-*.arrow, `DatasetDict` one such folder for each
split and dataset_dict.json; a folder of the hub has a README.md with YAML in front, and data files.
"""

import re
from collections.abc import Callable, Collection

from pipeline.io.formats.names import basename, format_of

_TABLES = frozenset(["arrow", "parquet", "jsonl", "csv", "tsv", "json"])
_CARD = re.compile(
    rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(?:(?!---)[^\n]*\n)*?"
    rb"(?:dataset_info|configs|task_categories|task_ids|size_categories|pretty_name|license)[ \t]*:"
)
CARD_BYTES = 1 << 16
"""Of a README.md that are looked at."""


def describing(names: Collection[str], head: Callable[[str], bytes]) -> set[str]:
    """Those of the relative `names` that describe a dataset. `head` gives the first CARD_BYTES of a file.

    dataset_info.json, state.json and the caches of `map` (cache-*.arrow) stand beside an Arrow or Parquet file,
    dataset_dict.json above folders with dataset_info.json, README.md and dataset_infos.json beside or above data.
    """
    known = set(names)
    found: set[str] = set()
    stored: set[str] = set()  # folders that hold Arrow or Parquet files
    data: set[str] = set()  # folders that hold data, and their parents
    for name in known:
        folder = name.rpartition("/")[0]
        kind = format_of(name)
        if kind in ("arrow", "parquet"):
            stored.add(folder)
        if kind in _TABLES and basename(name) not in _DESCRIBING:
            data |= {folder, folder.rpartition("/")[0]}
    for name in sorted(known):
        folder, _, last = name.rpartition("/")
        beside = f"{folder}/" if folder else ""
        if last in ("dataset_info.json", "state.json"):
            described = folder in stored and f"{beside}dataset_info.json" in known
        elif last.startswith("cache-") and last.endswith(".arrow"):
            described = f"{beside}dataset_info.json" in known
        elif last == "dataset_dict.json":
            described = any(
                other.startswith(beside)
                and other.endswith("/dataset_info.json")
                and other.count("/") == name.count("/") + 1
                for other in known
            )
        elif last in ("README.md", "dataset_infos.json"):
            card = f"{beside}README.md"
            described = folder in data and (
                card in known and _CARD.match(head(card)) is not None
                if last == "README.md"
                else folder in data and card in known
            )
        else:
            continue
        if described:
            found.add(name)
    return found


_DESCRIBING = frozenset(["dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"])

"""datatrove 0.10 beside the sets of rules that repeat it, on any texts: scores given its tokens, verdicts with ours.

    python tests/pipeline/text/datatrove_compare.py [--data DIR] [--documents N] [--peer PYTHON] [--golden FILE]

Texts come from samples/ or DIR, cut into passages of at most 6,000 characters, taken evenly over the sources. PYTHON is
an interpreter with datatrove 0.10 and spaCy; without it the one that SILIANG_PEERS_DATATROVE names. Prints what the
tests demand; `--golden` writes what the peer says of passages of samples/ to a file that the tests read without it.
"""

import argparse
import base64
import json
import math
import os
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import RulesConfig, make_config
from pipeline.io.inputs import list_inputs
from pipeline.io.read import read_batches
from pipeline.text import c4
from pipeline.text.datatrove import DATATROVE_STATISTICS, Tokens, count_datatrove, measure_datatrove, values
from pipeline.text.html import main_text
from pipeline.text.judge import judge
from pipeline.text.language import identify
from pipeline.text.repair import repair
from pipeline.text.rules import RULES
from pipeline.text.script import UNTERMINATED, dominant
from pipeline.text.statistics import measure

ROOT = Path(__file__).parents[3]
PEER = Path(__file__).with_name("datatrove_peer.py")
SETS = ("gopher-quality-datatrove", "gopher-repetition-datatrove", "fineweb-datatrove", "c4-datatrove")
REASONS = {
    "gopher_short_doc": "min_words",
    "gopher_long_doc": "max_words",
    "gopher_below_avg_threshold": "min_mean_word_length",
    "gopher_above_avg_threshold": "max_mean_word_length",
    "gopher_too_many_hashes": "max_hash_ratio",
    "gopher_too_many_ellipsis": "max_ellipsis_ratio",
    "gopher_too_many_bullets": "max_bullet_lines",
    "gopher_too_many_end_ellipsis": "max_ellipsis_lines",
    "gopher_below_alpha_threshold": "min_alphabetic_words",
    "gopher_enough_stop_words": "min_stop_words",
    "dup_para_frac": "max_duplicate_paragraphs",
    "dup_para_char_frac": "max_duplicate_paragraph_characters",
    "dup_line_frac": "max_duplicate_lines",
    "dup_line_char_frac": "max_duplicate_line_characters",
    **{f"top_{n}_gram": f"max_top_{n}gram_characters" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"max_duplicate_{n}gram_characters" for n in range(5, 11)},
    "line_punct_ratio": "min_terminal_lines",
    "short_line_ratio": "max_short_lines",
    "char_dup_ratio": "max_copied_characters",
    "list_ratio": "max_newline_ratio",
    "lorem_ipsum": "lorem_ipsum",
    "curly_bracket": "curly_bracket",
    "too_few_sentences": "min_sentences",
}
"""datatrove's reason -> the rule that gives it here."""


def rule_of(group: str, reason: str | None) -> str | None:
    """The rule of this set that stands for datatrove's reason."""
    if reason is None:
        return None
    return next(name for name, rule in RULES.items() if rule.set == group and name.endswith(f".{REASONS[reason]}"))


def interpreter() -> str | None:
    """A Python that has datatrove: of SILIANG_PEERS_DATATROVE, else this one, else none."""
    named = os.environ.get("SILIANG_PEERS_DATATROVE")
    return named or (sys.executable if find_spec("datatrove") and find_spec("spacy") else None)


def run_peer(python: str, texts: list[str], folder: Path) -> list[dict[str, Any]]:
    """What datatrove_peer.py says of each text."""
    given, told = folder / "texts.jsonl", folder / "results.jsonl"
    given.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    subprocess.run([python, "-W", "ignore", str(PEER), str(given), str(told)], check=True)
    return [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]


def passages(data: Path, most: int, characters: int = 6000) -> list[str]:
    """Clean texts of `data`, at most so many, as evenly over its sources as they last; the same for the same data."""
    config = make_config(
        {
            "input": {
                "text_fields": ["text", "paragraphs", "content", "original"],
                "exclude": ["SOURCES.md"],
                "split_characters": characters,
                "max_quarantined": 1.0,
            }
        }
    )
    sources: dict[str, list[str]] = {}
    for file in list_inputs([str(data)]):
        held = sources.setdefault(file.source, [])
        if len(held) >= most:
            continue
        for batch in read_batches(file, config.input):
            clean = repair(main_text(batch))
            rows = zip(clean["text"].to_pylist(), clean["quarantine"].to_pylist(), strict=True)
            held += [text for text, reason in rows if reason is None and text]
    taken: list[str] = []
    share, left = most // max(1, len(sources)), sorted(sources.values(), key=len)
    for index, texts in enumerate(left):
        share = (most - len(taken)) // (len(left) - index)
        step = max(1.0, len(texts) / max(1, share))
        taken += [texts[int(at * step)] for at in range(min(share, len(texts)))]
    return taken


def handed_over(results: list[dict[str, Any]]) -> Tokens:
    """The peer's tokens."""
    spans = [np.array(result["tokens"], np.int64) for result in results]
    none = np.zeros(0, np.int64)
    return Tokens(
        np.concatenate([none, *(span[::2] for span in spans)]),
        np.concatenate([none, *(span[1::2] for span in spans)]),
        np.concatenate([[0], np.cumsum([len(span) // 2 for span in spans])]).astype(np.int64),
    )


def decided(texts: list[str], tokens: Tokens | None) -> dict[str, list[str | None]]:
    """Set of rules -> the rule that drops each text, judged with that set alone (and without "siliang.min_characters"
    deciding, as there are no empty texts)."""
    batch = pa.RecordBatch.from_pydict(
        {
            "text": pa.array(texts, pa.string()),
            "quarantine": pa.nulls(len(texts), pa.string()),
            "detail": pa.nulls(len(texts), pa.string()),
        }
    )
    measured = measure_datatrove(measure(identify(batch)), tokens)
    return {name: judge(measured, RulesConfig(sets=(name,)))["rule"].to_pylist() for name in SETS}


@dataclass
class Comparison:
    documents: int
    scores: int = 0
    """Pairs of numbers compared, given the peer's tokens."""
    largest: float = 0.0
    """Difference among them."""
    wrong: list[tuple[int, str, float, float]] = field(default_factory=list)
    """Document, statistic, the peer's score, ours: those further apart than 1e-9."""
    verdicts: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Set -> documents that the peer drops."""
    given: list[tuple[int, str, str | None, str | None]] = field(default_factory=list)
    """Document, set, the peer's rule, ours, where they differ given the peer's tokens; C4 left out."""
    own: list[tuple[int, str, str | None, str | None]] = field(default_factory=list)
    """The same with our tokens."""
    tokens: int = 0
    same_tokens: int = 0
    only_peer: Counter[str] = field(default_factory=Counter)
    only_own: Counter[str] = field(default_factory=Counter)
    c4: list[tuple[int, str, bool]] = field(default_factory=list)
    """Document, cause, whether the verdict differs too: what differs of C4's lines and sentences."""
    examples: dict[str, str] = field(default_factory=dict)
    """Cause -> what it looks like."""
    unexplained: list[int] = field(default_factory=list)
    """Documents of another verdict of C4 with the same lines and as many sentences."""


def compare(texts: list[str], results: list[dict[str, Any]]) -> Comparison:
    found = Comparison(len(texts))
    tokens = handed_over(results)
    array = pa.array(texts, pa.string())
    columns = dict(zip(DATATROVE_STATISTICS, values(count_datatrove(array, tokens)), strict=True))
    for row, result in enumerate(results):
        for name, score in result["scores"].items():
            if math.isnan(score):  # the mean of nothing
                continue
            ours = float(columns[name][row])
            found.scores += 1
            found.largest = max(found.largest, abs(score - ours))
            if abs(score - ours) > 1e-9:
                found.wrong.append((row, name, score, ours))
    c4_differs: set[int] = set()
    for which, handed in ((found.given, tokens), (found.own, None)):
        for name, rules in decided(texts, handed).items():
            for row, rule in enumerate(rules):
                reason = results[row]["reasons"][name]
                wanted = rule_of(name, reason)
                if handed is not None:
                    found.verdicts += 1
                    found.dropped[name] += reason is not None
                if rule != wanted and name == "c4-datatrove":
                    c4_differs.add(row)
                elif rule != wanted:
                    which.append((row, name, wanted, rule))
    own = count_datatrove(array).tokens
    for row, text in enumerate(texts):
        ours, theirs = (
            set(zip(t.starts[a:b].tolist(), t.ends[a:b].tolist(), strict=True))
            for t in (own, tokens)
            for a, b in [t.offsets[row : row + 2]]
        )
        found.tokens += len(theirs)
        found.same_tokens += len(ours & theirs)
        found.only_peer.update(text[a:b] for a, b in sorted(theirs - ours))
        found.only_own.update(text[a:b] for a, b in sorted(ours - theirs))
        cause = _c4_cause(text, results[row]["c4"], found.examples)
        if cause is not None:
            found.c4.append((row, cause, row in c4_differs))
        elif row in c4_differs:
            found.unexplained.append(row)
    return found


def _c4_cause(text: str, told: dict[str, Any], examples: dict[str, str]) -> str | None:
    script = dominant(text)
    if script in UNTERMINATED:
        examples.setdefault("of Thai and Lao Siliang asks no end marks and no sentences", text[:80])
        return "of Thai and Lao Siliang asks no end marks and no sentences"
    page = c4.apply(text, script, c4.DATATROVE_LIMITS)
    kept = [line.strip() for line in page.kept if line.strip()]
    theirs = [line.strip() for line in told["text"].split("\n") if line.strip()]
    if kept != theirs:
        only_theirs = [line for line in theirs if line not in kept]
        only_ours = [line for line in kept if line not in theirs]
        line = (only_theirs or only_ours or [""])[0]
        if only_theirs and line.endswith("'"):
            cause = "datatrove keeps lines that end with a single quote"
        elif only_theirs:
            cause = "datatrove counts the words of a line before it removes citations"
        elif not line.endswith((".", "?", "!", '"')):
            cause = "Siliang keeps lines that end with an end mark or quote of another kind"
        elif len(line.split()) < 3:
            cause = "letters of unspaced scripts are words to Siliang"
        else:
            cause = "other lines"
        examples.setdefault(cause, line[-80:])
        return cause
    if page.sentences != told["sentences"]:
        cause = f"{'more' if page.sentences > told['sentences'] else 'fewer'} sentences than by spaCy's sentencizer"
        examples.setdefault(cause, f"{page.sentences} against {told['sentences']:.0f}: {kept[0][:160]}")
        return cause
    return None


def packed(tokens: list[int]) -> str:
    """Differences of neighbours, compressed."""
    differences = np.diff(np.array([0, *tokens], np.int64)).astype("<u2").tobytes()
    return base64.b64encode(zlib.compress(differences, 9)).decode()


def unpacked(code: str) -> list[int]:
    return np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(code)), "<u2").astype(np.int64)).tolist()


def golden_passages() -> list[dict[str, Any]]:
    """Pieces of samples/ of 1,500 characters, every so many: file and first character."""
    places = []
    for path in sorted((ROOT / "samples").glob("*/*")):
        if path.suffix in (".txt", ".html", ".json"):
            size = len(path.read_text(encoding="utf-8"))
            step = 9000 if path.suffix == ".txt" else 30000
            places += [{"file": path.relative_to(ROOT).as_posix(), "start": at} for at in range(0, size, step)]
    return places


def golden_text(place: dict[str, Any]) -> str:
    text = (ROOT / place["file"]).read_text(encoding="utf-8")
    return text[place["start"] : place["start"] + 1500].strip()


def write_golden(python: str, folder: Path, target: Path) -> None:
    places = golden_passages()
    results = run_peer(python, [golden_text(place) for place in places], folder)
    for place, result in zip(places, results, strict=True):
        place["tokens"] = packed(result["tokens"])
        place["scores"] = {name.removeprefix("datatrove_"): score for name, score in result["scores"].items() if score}
        place["reasons"] = result["reasons"]
    lines = ",\n".join(json.dumps(place, ensure_ascii=False, separators=(",", ":")) for place in places)
    target.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--peer", default=interpreter())
    parser.add_argument("--golden", type=Path)
    arguments = parser.parse_args()
    if arguments.peer is None:
        raise SystemExit("no datatrove: set SILIANG_PEERS_DATATROVE to a Python with 'datatrove==0.10.*' and spacy")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.golden:
            write_golden(arguments.peer, Path(folder), arguments.golden)
            return
        folders = arguments.data or [ROOT / "samples"]
        texts = [text for data in folders for text in passages(data, arguments.documents // len(folders))]
        results = run_peer(arguments.peer, texts, Path(folder))
    found = compare(texts, results)
    print(
        f"{found.documents:,} documents; {found.scores:,} scores given the peer's tokens, largest difference ", end=""
    )
    print(f"{found.largest:.3g}, {len(found.wrong)} above 1e-9: {found.wrong[:5]}")
    print(f"{found.verdicts:,} verdicts; dropped by the peer: {dict(found.dropped)}")
    for head, differing in (("given the peer's tokens", found.given), ("with our tokens, C4 aside", found.own)):
        print(f"verdicts that differ {head}: {len(differing)}")
        kinds = Counter((name, wanted, rule) for _, name, wanted, rule in differing)
        for (name, wanted, rule), count in kinds.most_common():
            row = next(row for row, *kind in differing if kind == [name, wanted, rule])
            one = compare(texts[row : row + 1], results[row : row + 1])
            parted = f"{list(one.only_peer)[:6]} against {list(one.only_own)[:6]}"
            print(f"  {count:5} {name}: datatrove {wanted}, here {rule}; e.g. {texts[row][:80]!r}, {parted}")
    print(f"tokens: {found.tokens:,}, the same {found.same_tokens / max(1, found.tokens):.6f}")
    print(f"  only spaCy: {found.only_peer.most_common(40)}")
    print(f"  only here: {found.only_own.most_common(40)}")
    print(f"C4: verdicts that nothing explains: {len(found.unexplained)}")
    for cause, count in Counter(cause for _, cause, _ in found.c4).most_common():
        verdicts = sum(differs for _, other, differs in found.c4 if other == cause)
        print(f"  {count:5}, verdicts {verdicts:4}: {cause}; e.g. {found.examples[cause]!r}")


if __name__ == "__main__":
    main()

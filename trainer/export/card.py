"""The model card: README.md of an export, written from what the run and the fine-tuning recorded.

Names of labels, sources and measurements come from data: they stand in code spans, whatever they hold.
"""

import json
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.export.source import Source
from trainer.finetune.directory import ClassifierDirectory
from trainer.lineage import lineage
from trainer.run import RunDirectory

TASKS = {
    "masked-lm": "fill-mask",
    "classification": "text-classification",
    "regression": "text-classification",
    "tokens": "token-classification",
}
PLACES = ("sources", "base", "cache")
"""Keys that name directories of the machine it was trained on."""
LONGEST_NAME = 80
MOST_ROWS = 40
MEASURES = {"accuracy", "f1", "matthews", "pearson", "spearman", "loss"}


class CardError(ValueError):
    """A file of scores that cannot be read."""


def model_card(source: Source, use: str = "", evaluations: Sequence[Path] = (), library: str = "transformers") -> str:
    """Markdown. `use` says how the files beside it are loaded, by which library; `evaluations` are files of what
    `evaluate --json` printed.

    Raises CardError naming the file.
    """
    directory = RunDirectory(source.path)
    result = directory.read_result() or {}
    if source.classifier is not None:
        result = ClassifierDirectory(source.path).read_result() or {}
    known = lineage(source.path) if source.classifier is None else result.get("pretrained", {})
    parts = [
        _front(source, library),
        _what(source),
        use,
        _labels(source),
        _scores(source, result, evaluations),
        _corpus(known.get("corpus", {})),
        _training(known.get("training", {})),
        _config(source, result),
        _limits(source, known),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def code(text: Any) -> str:
    """A code span that ends where it should: no line breaks, no backtick of its own, and inside of tables no bar."""
    plain = " ".join(str(text).split())
    plain = plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 1] + "…"
    return "`" + plain.replace("`", "'").replace("|", "¦") + "`" if plain else "` `"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _front(source: Source, library: str) -> str:
    tags = "\n".join(f"- {tag}" for tag in ("siliang", "encoder", source.config.positions))
    return f"---\nlibrary_name: {library}\npipeline_tag: {TASKS[source.kind]}\ntags:\n{tags}\n---"


def _what(source: Source) -> str:
    config = source.config
    parameters = sum(p.numel() for p in source.encoder.parameters()) + sum(t.numel() for t in source.head.values())
    kind = {
        "masked-lm": "A masked language model",
        "classification": f"A classifier of {'pairs of texts' if _pairs(source) else 'texts'}",
        "regression": f"A model that gives {'pairs of texts' if _pairs(source) else 'texts'} a value",
        "tokens": "A model that labels the words of a text",
    }[source.kind]
    return (
        f"# {kind}\n\nAn encoder trained by Siliang: {config.layers} layers of width {config.width} with "
        f"{config.heads} heads, {parameters:,} parameters, positions `{config.positions}`, norm `{config.norm}`, "
        f"{config.vocabulary_size:,} SentencePiece pieces. It reads texts of up to {source.longest:,} pieces."
    )


def _pairs(source: Source) -> bool:
    return source.classifier is not None and source.classifier.pair


def _labels(source: Source) -> str:
    if source.kind not in ("classification", "tokens"):
        return ""
    names = source.labels
    more = f" and {len(names) - MOST_ROWS:,} more" if len(names) > MOST_ROWS else ""
    return f"## Labels\n\n{', '.join(map(code, names[:MOST_ROWS]))}{more}"


def _scores(source: Source, result: dict[str, Any], evaluations: Sequence[Path]) -> str:
    rows: list[Sequence[str]] = []
    if source.classifier is None:
        rows += [(name, _number(result[key])) for key, name in (
            ("held_out_loss_end", "held-out loss, nats per masked piece"),
            ("unigram_entropy", "unigram entropy of the held-out pieces, nats"),
        ) if key in result]  # fmt: skip
    for split in ("valid", "test"):
        for name, found in result.get(split, {}).items():
            if name in MEASURES and isinstance(found, dict):
                count = len(found["values"])
                of = f", median of {count} seeds (least to greatest)" if count > 1 else ""
                spread = f" ({_number(found['least'])} to {_number(found['greatest'])})" if count > 1 else ""
                rows.append((f"{split} {name}{of}", _number(found["median"]) + spread))
    if result.get("task") == "early-exit":
        metric, valid = code(result["metric"]), result["valid"]
        rows.append((f"valid {metric}, all layers", _number(result["full"])))
        at = f"speed {result['speed']:g}, {valid['layers']:.2f} layers in the mean"
        rows.append((f"valid {metric} at {at}", _number(valid["score"])))
    for path in evaluations:
        rows += _evaluation(path)
    if not rows:
        return "## Scores\n\nNone are recorded."
    told = ""
    if "valid" in result:
        told = "\n\nSettings were chosen by the validation file, so its scores are those of a choice."
    return "## Scores\n\n" + table(("measured", "value"), rows) + told


def _evaluation(path: Path) -> list[Sequence[str]]:
    """Rows of what `evaluate --json` printed."""
    try:
        found = json.loads(path.read_bytes())
        runs = found if isinstance(found, list) else [found]
        rows: list[Sequence[str]] = []
        for run in runs:
            if "held_out_loss" in run:
                rows.append(("evaluated held-out loss, nats", _number(run["held_out_loss"])))
            if "probe" in run:
                rows.append(("held-out loss through a probe, nats", _number(run["probe"]["held_out_loss"])))
            if "minimal_pairs" in run:
                pairs = run["minimal_pairs"]
                rows.append((f"minimal pairs, mean of {pairs['pairs']:,} (chance 0.5)", _number(pairs["mean"])))
                rows += [(f"  {code(p['name'])}", _number(p["accuracy"])) for p in pairs["paradigms"][:MOST_ROWS]]
            if "rare_words" in run:
                rows.append(("rare words, averaged (Spearman)", _number(run["rare_words"]["averaged"])))
            for band in run.get("bands", {}).get("words", []):
                rows.append((f"perplexity of words, {code(band['band'])}", _number(band["perplexity"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CardError(f"{path}: not what `siliang-trainer evaluate --json` prints ({error})") from error
    return rows


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _corpus(corpus: dict[str, Any]) -> str:
    if not corpus:
        return "## Data\n\nThe run does not say what it was trained on."
    if "manifest" not in corpus:
        return "## Data\n\n" + table(("of the corpus", "digest"), [(code(k), code(v)) for k, v in corpus.items()])
    rows: list[Sequence[str]] = [
        ("sha256 of manifest.json", code(corpus["manifest"])),
        ("sha256 of report/report.json", code(corpus["report"]) if corpus.get("report") else "no report"),
        ("tokens", _number(corpus.get("tokens"))),
    ]
    rows += [(f"records, {code(name)}", _number(count)) for name, count in corpus.get("records", {}).items()]
    sources = sorted(corpus.get("sources", {}).items(), key=lambda pair: -pair[1])
    rows += [(f"kept of source {code(name)}", _number(count)) for name, count in sources[:MOST_ROWS]]
    return "## Data\n\n" + table(("of the corpus", "value"), rows)


def _training(training: dict[str, Any]) -> str:
    if not training:
        return ""
    flops = training.get("flops", 0.0) + training.get("flops_base", 0.0)
    versions = ", ".join(f"{name} {version}" for name, version in training.get("versions", {}).items())
    rows: list[Sequence[str]] = [
        ("task", code(training.get("task", "masked-lm"))),
        ("steps", _number(training.get("steps"))),
        ("tokens seen", _number(training.get("tokens"))),
        ("floating-point operations", f"{flops:.3g}"),
        ("seconds", _number(training.get("seconds"))),
        ("precision, device", f"{code(training.get('precision'))}, {code(training.get('device'))}"),
        ("versions", code(versions)),
        ("digest of the trainer's source", code(training.get("source"))),
    ]
    return "## Training\n\n" + table(("of the pre-training", "value"), rows)


def _config(source: Source, result: dict[str, Any]) -> str:
    """Every key, as TOML names them."""
    settings: dict[str, Any] = {"model": source.config.model_dump(mode="json")}
    if source.classifier is not None:
        settings["finetune"] = result.get("config", {}) | source.classifier.settings
    else:
        with suppress(OSError, ValueError):
            told = tomllib.loads(RunDirectory(source.path).config.read_text(encoding="utf-8"))
            settings |= {name: values for name, values in told.items() if name != "model"}
    lines = []
    for section, values in settings.items():
        lines += [
            f"| {code(section)} | {code(key)} | {code(json.dumps(value, ensure_ascii=False))} |"
            for key, value in (values if isinstance(values, dict) else {}).items()
            if key not in PLACES
        ]
    return "## Config\n\n" + table(("section", "key", "value"), ()) + "\n" + "\n".join(lines)


def _limits(source: Source, known: dict[str, Any]) -> str:
    limits = [
        f"Texts longer than {source.longest:,} pieces are cut, or refused; nothing beyond was ever seen.",
        "It knows the languages and kinds of text of its corpus, with what is wrong or unfair in them; no measurement "
        "of bias, toxicity or facts was made.",
        "Scores hold for the files that they were measured on; on other texts they will differ.",
    ]
    if source.notes_dropped:
        limits.append(
            f"It was trained with notes of {source.notes_dropped:,} rare words, which are not part of these files: "
            "such words enter as their embeddings alone."
        )
    tokens = known.get("training", {}).get("tokens")
    if tokens and tokens < 10**9:
        limits.append(f"It has seen {tokens:,} tokens, which is little: published encoders see billions.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)

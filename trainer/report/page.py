"""The page: one file that opens without a network, whose policy allows its own style alone; it has no script."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trainer.report.chart import COLOURS, short
from trainer.report.curves import LOSS, NOTES, OPTIMISATION, SPEED, Curves, Drawn, Spec, part_specs
from trainer.report.history import AXES, History, number, read_histories
from trainer.report.samples import samples_of
from trainer.report.visible import visible, visible_text

TEMPLATES = Path(__file__).parent / "templates"
AXIS_NAMES = {"step": "Steps", "tokens": "Tokens", "seconds": "Seconds", "flops": "FLOPs"}


@dataclass(frozen=True)
class Summary:
    """A run's line in the table at the top; None where its files do not tell."""

    run: int
    name: str
    finished: bool
    task: str | None
    model: str | None
    parameters: float | None
    step: int
    tokens: float | None
    seconds: float | None
    flops: float | None
    loss: float | None
    """Last held-out loss."""
    best: float | None
    best_step: int | None
    tokens_per_second: float | None
    mfu: float | None
    skipped: int
    problems: tuple[str, ...]


def write_page(paths: Sequence[Path]) -> str:
    """The page of these runs; the same text for the same files. Raises RunError."""
    histories = read_histories(paths)
    curves = Curves(histories, paths)

    def drawn(specs: Sequence[Spec]) -> list[Drawn]:
        return [found for spec in specs if (found := curves.draw(spec)) is not None]

    css = (TEMPLATES / "report.css").read_text(encoding="utf-8") + _toggles(len(histories))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(v=visible, plain=visible_text, n=_count, num=_number, share=_share)
    return environment.get_template("report.html").render(
        css=Markup(css),
        policy=_policy(css),
        axes=AXIS_NAMES,
        runs=[_summary(run, history, curves) for run, history in enumerate(histories)],
        sections=[
            ("loss", "Loss", drawn([LOSS])),
            ("optimisation", "Optimisation", drawn(OPTIMISATION)),
            ("speed", "Speed", drawn(SPEED)),
            ("task", "Task", drawn(part_specs(histories))),
            ("notes", "Notes", drawn(NOTES)),
        ],
        growth=[(run, record) for run, history in enumerate(histories) for record in history.of("growth")],
        recoveries=[(run, record) for run, history in enumerate(histories) for record in history.of("recovery")],
        samples=[(run, found) for run, history in enumerate(histories) if (found := samples_of(history))],
        differing=_differing([history.config for history in histories]),
        configs=[_config(history.config) for history in histories],
        colours=COLOURS,
    )


def _policy(css: str) -> str:
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _toggles(runs: int) -> str:
    """What the switches of the page do, in CSS: the axis that is shown, and runs that are hidden."""
    rules = [f"main:has(#x-{axis}:checked) .x-{axis} {{ display: block; }}" for axis in AXES]
    rules += [f"main:has(#r{run}:not(:checked)) .r{run} {{ display: none; }}" for run in range(runs)]
    return "\n".join(rules) + "\n"


def _summary(run: int, history: History, curves: Curves) -> Summary:
    result, config = history.result, history.config
    held_out = history.points("held_out", "loss")
    best = int(held_out.values.argmin()) if len(held_out) else None
    problems = []
    if history.unread:
        problems.append(f"{history.unread} lines of its log are no records, such as one cut short by a kill")
    if history.doubled:
        problems.append(
            f"{history.doubled} records were written twice, as by a run that was resumed; the last ones count"
        )
    for kind in ("train", "held_out"):
        if lost := history.points(kind, "loss").lost:
            problems.append(f"{lost} losses ({kind.replace('_', '-')}) are not finite")
    if not config:
        problems.append("config.toml cannot be read")
    elif curves.total(run, "flops") is None:
        problems.append("its FLOPs are not known: config or vocabulary is of another version, or no tokens were logged")
    return Summary(
        run=run,
        name=history.name,
        finished=bool(result),
        task=_text(_section(config, "task").get("kind")),
        model=_model(config, result),
        parameters=_finite(result.get("parameters")),
        step=history.last_step,
        tokens=curves.total(run, "tokens"),
        seconds=curves.total(run, "seconds"),
        flops=curves.total(run, "flops"),
        loss=float(held_out.values[-1]) if len(held_out) else None,
        best=None if best is None else float(held_out.values[best]),
        best_step=None if best is None else int(held_out.steps[best]),
        tokens_per_second=_finite(result.get("tokens_per_second")) or _last(history, "tokens_per_second"),
        mfu=_finite(result.get("mfu")) or _last(history, "mfu"),
        skipped=max((int(t) for r in history.of("skipped") if math.isfinite(t := number(r.get("total")))), default=0),
        problems=tuple(problems),
    )


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _model(config: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    preset = _text(_section(config, "model").get("preset"))
    layers = result.get("layers")
    return f"{preset}, {layers} layers" if preset and isinstance(layers, int) else preset


def _finite(value: Any) -> float | None:
    return found if math.isfinite(found := number(value)) else None


def _last(history: History, name: str) -> float | None:
    points = history.points("train", name)
    return float(points.values[-1]) if len(points) else None


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Keys whose values are not the same in all runs; "–" where a run has none."""
    flat = [_flat(config) for config in configs]
    keys = dict.fromkeys(key for table in flat for key in table)
    rows = [(key, [_shown(table[key]) if key in table else "–" for table in flat]) for key in keys]
    return [row for row in rows if len(set(row[1])) > 1]


def _config(config: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {_shown(value)}" for key, value in _flat(config).items())


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _number(value: Any) -> str:
    found = number(value)
    return short(found) if math.isfinite(found) else "–"


def _share(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.0f}\u00a0%"

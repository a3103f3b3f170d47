"""Arms and settings as data: benchmarks/ablation/arms.toml and settings.toml, read into frozen dataclasses.

An arm is a set of config values on top of another arm's (`on`) and of the setting's. Its choices are further sets, one
of which its search takes (trainer config keys throughout, written 'section.key').
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.ablations.prices import Prices

DATA = Path(__file__).parents[1] / "ablation"
Values = Mapping[str, Any]
LEARNING_RATE = "optimizer.learning_rate"
AS_IT_IS = "as it is"


class ArmError(ValueError):
    """arms.toml or settings.toml cannot be used. The message names the arm and the key."""


@dataclass(frozen=True)
class Choice:
    name: str
    values: Values


@dataclass(frozen=True)
class Arm:
    name: str
    title: str
    group: str
    tier: int
    """Arms of tier 1 are run before those of tier 2."""
    values: Values
    choices: tuple[Choice, ...]
    """Tried at the rate that is best for the first; the first is the arm as it is."""
    against: str | None = None
    """The arm that it is this one change away from."""
    judge: str = "held_out"
    """'held_out': the masked-LM loss of the run. 'probe': that of a head trained on the frozen encoder."""
    rate_keys: Mapping[str, float] = field(default_factory=lambda: {LEARNING_RATE: 1.0})
    """Config key -> its value over the searched rate."""
    shares: tuple[float, ...] = (1.0,)
    """Parts of the setting's budget; each is a run with a schedule of its own that ends there."""
    finals: int = 0
    """So many of the search's choices, the best ones, are decided between at the whole budget; 0: by the search."""
    start: float | None = None
    """Where its search of the rate begins, in settings that have that rate; None: where the setting's does."""
    rate: float | None = None
    """Taken as it is, without a search: of arms that change how long a step takes and not what it computes."""
    missing: str | None = None
    """Why it cannot run with this version of the trainer."""
    waits: str | None = None
    """What must be run before it."""


@dataclass(frozen=True)
class Setting:
    name: str
    title: str
    seconds: float
    """Training seconds of a run, at the price of a quiet machine."""
    tuning_seconds: float
    tuning_seed: int
    seeds: tuple[int, ...]
    """Of the reported runs; the search uses another one."""
    rates: tuple[float, ...]
    start: float
    """Where the search of the rate begins; one of `rates`."""
    values: Values
    threads: int = 1
    tiers: int = 9
    """Arms of higher tiers are run only when they are named."""
    prices: Prices | None = None
    """What a step of each config costs; None where that was not measured yet."""
    level_steps: int = 8000
    """Steps of the encoder without positions, whose loss is the second plateau."""
    instead: Values = field(default_factory=dict)
    """Put in place of what arms and choices say of these keys; a table: old value (as JSON) -> new one."""
    choices_of: str | None = None
    """Another setting, whose searches decide the arms' choices here."""


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ArmError(f"{path}: {error}") from error


def read_settings(path: Path = DATA / "settings.toml") -> dict[str, Setting]:
    """Name -> setting. Raises ArmError."""
    settings = {}
    for name, table in _read(path).items():
        given = {**table, "values": table["set"], "seeds": tuple(table["seeds"]), "rates": tuple(table["rates"])}
        given.pop("set")
        try:
            setting = Setting(name=name, **given)
        except TypeError as error:
            raise ArmError(f"{path}: setting '{name}': {error}") from error
        if setting.start not in setting.rates:
            raise ArmError(f"{path}: setting '{name}': start {setting.start:g} is not among its rates")
        if setting.tuning_seed in setting.seeds:
            raise ArmError(f"{path}: setting '{name}': seed {setting.tuning_seed} would be tuned on and reported")
        settings[name] = setting
    return settings


def read_arms(path: Path = DATA / "arms.toml") -> dict[str, Arm]:
    """Name -> arm, in the file's order. Raises ArmError."""
    data = _read(path)
    named = {name: Choice(name, values) for name, values in data.get("choices", {}).items()}
    arms: dict[str, Arm] = {}
    for table in data["arm"]:
        name, parent = table["name"], table.get("on")
        if parent is not None and parent not in arms:
            raise ArmError(f"{path}: arm '{name}': on '{parent}', which is not an arm above it")
        if unknown := [choice for choice in table.get("choices", []) if choice not in named]:
            raise ArmError(f"{path}: arm '{name}': no choice {', '.join(unknown)}; there are {', '.join(named)}")
        inherited = arms[parent].values if parent else {}
        arms[name] = Arm(
            name=name,
            title=table["title"],
            group=table["group"],
            tier=table.get("tier", 2),
            values={**inherited, **table.get("set", {})},
            choices=(Choice(AS_IT_IS, {}), *(named[choice] for choice in table.get("choices", []))),
            against=table.get("against", parent),
            judge=table.get("judge", "held_out"),
            rate_keys=table.get("rate_keys", {LEARNING_RATE: 1.0}),
            shares=tuple(table.get("shares", [1.0])),
            finals=table.get("finals", 0),
            start=table.get("start"),
            rate=table.get("rate"),
        )
    return arms


def together(setting: Setting, arm: Arm, choice: Choice | None = None) -> dict[str, Any]:
    """The values of an arm in a setting."""
    own = {**arm.values, **(choice.values if choice else {})}
    put = {key: _instead(value, own[key]) for key, value in setting.instead.items() if key in own}
    return {**setting.values, **own, **put}


def _instead(value: Any, old: Any) -> Any:
    """The value, or what a table says of the old one, written as JSON; the old one where it says nothing of it."""
    return value.get(json.dumps(old), old) if isinstance(value, Mapping) else value


def nested(values: Values) -> dict[str, Any]:
    """'section.key' -> value, as tables in tables."""
    tables: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        table = tables
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return tables


def problem(values: Values) -> str | None:
    """What this version of the trainer says against these values, in a line; None where it takes them."""
    from trainer.config import ConfigError, make_config

    try:
        make_config(nested(values), "arm")
    except ConfigError as error:
        return str(error).splitlines()[0].removeprefix("arm: ").partition("; allowed here")[0]
    return None


def usable(arms: Iterable[Arm], setting: Setting) -> tuple[dict[str, Arm], dict[str, str]]:
    """(arms with the choices that this trainer knows, `missing` said where it does not know the arm; what was left
    out: 'arm' or 'arm, choice' -> reason)."""
    found: dict[str, Arm] = {}
    left_out: dict[str, str] = {}
    for arm in arms:
        reason = problem(together(setting, arm))
        choices = []
        for choice in arm.choices:
            against = None if reason else problem(together(setting, arm, choice))
            if against:
                left_out[f"{arm.name}, {choice.name}"] = against
            else:
                choices.append(choice)
        if reason:
            left_out[arm.name] = reason
        found[arm.name] = replace(arm, choices=tuple(choices), missing=reason)
    return found, left_out

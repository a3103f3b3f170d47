"""The fair test: every method of the trainer under one protocol (benchmarks/ABLATION.md), as a queue that goes on.

    python benchmarks/ablation.py --data SHARDS --price   what a step of each arm costs; once, on a quiet machine
    python benchmarks/ablation.py --data SHARDS [--setting first] [--only ARM ...] [--hours H]   run what is to be run
    python benchmarks/ablation.py --report           tables, plots and ABLATION.md from the committed results
    python benchmarks/ablation.py --data SHARDS --list     what is done, what is next
    python benchmarks/ablation.py --data SHARDS --row ARM  repeat a row's reported runs, beside the committed figures
    python benchmarks/ablation.py --prepare CORPUS --data SHARDS   make the shards
    python benchmarks/ablation.py --quick            every step of it on samples/, under a minute; no result

Killed at any point, the next call goes on. The last line of --report, --row and --quick is one JSON object.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.ablations.arms import DATA, Arm, ArmError, Setting, read_arms, read_settings, usable  # noqa: E402
from benchmarks.ablations.corpus import HOW, data_digest, prepare  # noqa: E402
from benchmarks.ablations.levels import measure_levels, read_levels  # noqa: E402
from benchmarks.ablations.machine import machine  # noqa: E402
from benchmarks.ablations.plan import Job, Losses, Place, make_job, pending, search, to_price, unpriced  # noqa: E402
from benchmarks.ablations.plots import plot  # noqa: E402
from benchmarks.ablations.prices import add_prices, key, prices_path, read_prices  # noqa: E402
from benchmarks.ablations.pricing import ANCHORS, measure, on_list  # noqa: E402
from benchmarks.ablations.queue import Options, Queue, QueueError, expected_seconds  # noqa: E402
from benchmarks.ablations.report import text, write_document  # noqa: E402
from benchmarks.ablations.results import Results, write_table  # noqa: E402
from benchmarks.ablations.summary import Summary, best_place, summarise  # noqa: E402
from benchmarks.ablations.tuned import TASKS, tune_late  # noqa: E402

DOCUMENT = ROOT / "benchmarks" / "ABLATION.md"
QUICK_ARMS = ("bert", "tupe-a")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="SHARDS", help="output of siliang-pipeline prepare")
    parser.add_argument("--setting", default="first", help="of benchmarks/ablation/settings.toml")
    parser.add_argument("--only", nargs="+", metavar="ARM", help="these arms alone, whatever their tier")
    parser.add_argument("--hours", type=float, help="start no run that would not end in time")
    parser.add_argument("--lanes", type=int, default=2, help="runs side by side")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "ablation", help="run directories; may be deleted")
    parser.add_argument("--results", type=Path, default=DATA / "results", help="where results are kept")
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="minimal pairs (zorro/), measured of reported runs")
    parser.add_argument(
        "--tasks", type=Path, metavar="DIR", help="labelled texts (sst2/), for fine-tuning reported runs"
    )
    parser.add_argument(
        "--late", action="store_true", help="fine-tune what lies in --work and was not yet; trains nothing"
    )
    parser.add_argument("--price", action="store_true", help="measure what a step costs; once, on a quiet machine")
    parser.add_argument("--rounds", type=int, default=3, help="of --price")
    parser.add_argument("--list", action="store_true", help="what is done and what is next; runs nothing")
    parser.add_argument("--report", action="store_true", help="tables, plots and ABLATION.md; runs nothing")
    parser.add_argument("--row", metavar="ARM", help="repeat the reported runs of an arm, apart from the results")
    parser.add_argument("--prepare", type=Path, metavar="CORPUS", help="make the shards of this text into --data")
    parser.add_argument("--quick", action="store_true", help="check the machinery on samples/")
    return parser.parse_args()


def here(shards: Path, setting: Setting) -> Place:
    """Corpus, and what the setting's steps were priced on. Raises ArmError where they were not."""
    place = place_of(setting, data_digest(shards))
    if place is None:
        raise ArmError(
            f"setting '{setting.name}' has no prices yet: python benchmarks/ablation.py --data SHARDS --price"
        )
    return place


def place_of(setting: Setting, data: str) -> Place | None:
    """None where the setting's steps were not priced."""
    return Place(data, setting.prices.machine, setting.prices.precision) if setting.prices else None


def with_prices(settings: dict[str, Setting], results: Path) -> dict[str, Setting]:
    return {name: replace(setting, prices=read_prices(results, name)) for name, setting in settings.items()}


def price(
    shards: Path, setting: Setting, arms: list[Arm], results: Path, rounds: int, only: list[str] | None = None
) -> None:
    """Measures what is not yet on the setting's list, beside configs that are: the machine may be a few percent faster
    today than when the list was begun. `arms`: all of the setting; `only`: of which the new ones are.

    Raises ArmError on another machine than the list's.
    """
    import torch

    from trainer.precision import choose
    from trainer.precision import measure as matmul_rates

    processor, known = machine(), setting.prices
    if known is not None and known.machine != processor["id"]:
        path = prices_path(results, setting.name)
        raise ArmError(
            f"{path}: measured on machine {known.machine}, this is {processor['id']}; a list is of one machine"
        )
    torch.set_num_threads(setting.threads)
    precision = known.precision if known else choose("auto", matmul_rates(torch.device("cpu")))
    ready = [arm for arm in arms if not arm.waits]
    wanted = to_price((arm for arm in ready if only is None or arm.name in only), setting, precision)
    entries = known.entries if known else {}
    new = {name: values for name, values in wanted.items() if key(values) not in entries}
    listed = {key(values): (name, values) for name, values in to_price(ready, setting, precision).items()}
    anchors = dict([told for digest, told in listed.items() if digest in entries][:ANCHORS]) if new else {}
    found = measure(shards, {**anchors, **new}, rounds)
    place = {"machine": processor, "precision": precision, "threads": setting.threads}
    add_prices(results, setting.name, place, on_list(found, {digest: price.step for digest, price in entries.items()}))


def priced(arms: list[Arm], setting: Setting, place: Place) -> list[Arm]:
    """Those without a price wait for it."""
    return [
        replace(arm, waits="its steps are not priced yet; run --price")
        if not (arm.missing or arm.waits) and unpriced(arm, setting, place)
        else arm
        for arm in arms
    ]


def arms_for(
    setting: Setting, settings: dict[str, Setting], place: Place | None, losses: Losses, only: list[str] | None = None
) -> list[Arm]:
    """Those this trainer knows, and the others with the reason; `choices_of` followed. Raises ArmError."""
    arms = read_arms()
    if unknown := [name for name in only or [] if name not in arms]:
        raise ArmError(f"no arm {', '.join(unknown)}; there are {', '.join(arms)}")
    found, left_out = usable(arms.values(), setting)
    for name, reason in left_out.items():
        if "," in name:
            print(f"left out: {name}: {reason}", file=sys.stderr)
    if setting.choices_of:
        other = settings[setting.choices_of]
        elsewhere, _ = usable(arms.values(), other)
        # Its runs are at the prices of its own list, which another machine may have measured.
        there = place_of(other, place.data) if place else None
        for name, arm in found.items():
            if len(elsewhere[name].choices) == 1:
                continue  # Nothing to choose there.
            known = there is not None and not elsewhere[name].missing and not unpriced(elsewhere[name], other, there)
            done = search(elsewhere[name], other, there, losses) if known and there else None
            if done is not None and done.choice is not None:
                found[name] = replace(arm, choices=(done.choice,))
            else:
                found[name] = replace(arm, waits=f"waits for its search in setting '{other.name}'")
    return [arm for name, arm in found.items() if only is None or name in only]


def summaries(results: Results, settings: dict[str, Setting]) -> list[Summary]:
    found = []
    for name, setting in settings.items():
        if name == "quick":
            continue
        place = best_place(results, setting)
        arms = arms_for(setting, settings, place, results.losses())
        arms = priced(arms, setting, place) if place else arms
        levels = read_levels(results.path, name, place.data) if place else None
        summary = summarise(results, arms, setting, place, levels)
        # Arms that a setting runs only when they are named have a row once they were.
        summary.rows = [row for row in summary.rows if row.arm.tier <= setting.tiers or row.tried]
        found.append(summary)
    return found


def as_line(found: list[Summary], name: str) -> str:
    """The JSON object: a setting's arms and ratios, the other settings under `settings`."""
    objects = {summary.setting.name: summary.as_json() for summary in found}
    return json.dumps({**objects.pop(name), "settings": objects}, allow_nan=False)


def report(results: Results, settings: dict[str, Setting], name: str) -> None:
    found = summaries(results, settings)
    plots = {}
    for summary in found:
        file = DATA / f"curves-{summary.setting.name}.svg"
        if plot(summary, file):
            plots[summary.setting.name] = f"{DATA.name}/{file.name}"
        print(text(summary), end="\n\n")
    if results.records:
        write_table(results, results.path / "runs.arrow")
    write_document(DOCUMENT, found, plots)
    print(as_line(found, name))


def list_jobs(jobs: list[Job], results: Results, arms: list[Arm]) -> None:
    done = results.losses()
    failures = sum(map(results.failures, results.records))
    for arm in arms:
        if arm.missing or arm.waits:
            print(f"cannot run: {arm.name}: {arm.missing or arm.waits}")
    for job in jobs:
        print(f"next: {job.name:48} {job.choice:28} rate {job.rate:<10g} {job.seconds:6,.0f} s")
    hours = sum(map(expected_seconds, jobs)) / 3600
    print(f"{len(done)} done, {failures} failed; {len(jobs)} may start now, {hours:.1f} h on one lane")
    print("(what a search asks for next, and what is reported at the rate it finds, follows from those)")


def lanes(asked: int, threads: int) -> int:
    """Runs side by side that each have the cores they ask for, one at least."""
    return max(1, min(asked, (os.cpu_count() or 1) // threads))


def row(arguments: argparse.Namespace, setting: Setting, arms: list[Arm], results: Results, place: Place) -> None:
    """Repeats the reported runs of one arm at the rate and choice of the committed search."""
    (arm,) = arms
    known = best_place(results, setting)
    found = search(arm, setting, known, results.losses()) if known else None
    if arm.missing or known is None or found is None or found.choice is None or found.rate is None:
        raise QueueError(f"{arm.name}: {arm.missing or 'no finished search in the results; run it with --only'}")
    choice, rate = found.choice, found.rate

    def jobs_at(at: Place) -> list[Job]:
        runs = [(share, seed) for share in arm.shares for seed in setting.seeds]
        return [make_job(setting, arm, choice, rate, at, "report", seed, share) for share, seed in runs]

    jobs, committed = jobs_at(place), jobs_at(known)
    kept = arguments.work / "rows" / f"{setting.name}-{arm.name}"
    again = Results(kept)
    if all(job.digest in again.losses() for job in jobs):
        # The last call came to its end: this one begins anew.
        shutil.rmtree(kept)
        again = Results(kept)
    options = queue_options(arguments, setting)

    def left(losses: Losses, seen: object) -> list[Job]:
        return [job for job in jobs if job.digest not in losses and job.digest not in seen]  # type: ignore[operator]

    Queue(options, again).run(left)
    told = []
    for job, old in zip(jobs, committed, strict=True):
        first, second = results.losses().get(old.digest), again.losses().get(job.digest)
        told.append({"seed": job.seed, "share": job.share, "committed": first, "repeated": second})
        print(f"seed {job.seed}, share {job.share:.2f}: committed {first}, repeated {second}")
    print(json.dumps({"arm": arm.name, "setting": setting.name, "runs": told}))


def queue_options(arguments: argparse.Namespace, setting: Setting) -> Options:
    return Options(
        shards=arguments.data.resolve(),
        work=arguments.work.resolve(),
        lanes=lanes(arguments.lanes, setting.threads),
        hours=arguments.hours,
        pairs=arguments.pairs.resolve() if arguments.pairs else None,
        tasks=arguments.tasks.resolve() if arguments.tasks else None,
    )


def run(arguments: argparse.Namespace, setting: Setting, settings: dict[str, Setting], results: Results) -> int:
    began = time.monotonic()
    place = here(arguments.data, setting)
    only = [arguments.row] if arguments.row else arguments.only
    arms = priced(arms_for(setting, settings, place, results.losses(), only), setting, place)
    if arguments.row:
        row(arguments, setting, arms, results, place)
        return 0
    chosen = [arm for arm in arms if only or arm.tier <= setting.tiers]

    def jobs(losses: Losses, seen: object) -> list[Job]:
        return pending(chosen, setting, place, losses, seen)  # type: ignore[arg-type]

    if arguments.list:
        list_jobs(jobs(results.losses(), ()), results, arms)
        return 0
    for arm in chosen:
        if arm.missing or arm.waits:
            print(f"cannot run: {arm.name}: {arm.missing or arm.waits}", file=sys.stderr)
    levels = measure_levels(arguments.data, setting, place, results.path)
    print(f"plateaus: {levels['unigram_entropy']:.3f} nats by frequency, {levels['order_free']:.3f} without order")
    options = queue_options(arguments, setting)
    if options.hours is not None:
        options = replace(options, hours=options.hours - (time.monotonic() - began) / 3600)
    queue = Queue(options, results, lambda line: print(f"{time.strftime('%H:%M:%S')} {line}", flush=True))
    done = queue.run(jobs)
    left = len(jobs(results.losses(), ()))
    print(f"{done} runs count; {len(queue.given_up())} given up in this call; {left} more may start now")
    return 1 if queue.given_up() else 0


def whales(directory: Path) -> Path:
    """A task in place of SST-2: whether a line of the samples has a whale in it."""
    lines = [line.strip() for path in sorted((ROOT / "samples" / "moby-dick").glob("*")) for line in path.open()]
    rows = [f"{line.replace(chr(9), ' ')}\t{int('whale' in line.lower())}\n" for line in lines if line]
    (directory / TASKS[0]).mkdir(parents=True)
    for first, name in enumerate(("train", "dev", "test")):
        (directory / TASKS[0] / f"{name}.tsv").write_text("".join(rows[first::3][:200]), encoding="utf-8")
    return directory


def quick() -> None:
    """Shards of samples/, both lanes, search, seeds, parts of a budget, report."""
    settings = read_settings()
    setting = settings["quick"]
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        config = home / "pipeline.toml"
        config.write_text("[vocabulary]\nsize = 800\n[input]\nsplit_characters = 1500\n[shards]\nvalid_share = 0.1\n")
        if prepare(ROOT / "samples" / "moby-dick", home / "shards", config, workers=1):
            raise SystemExit("error: the samples could not be prepared")
        results = Results(home / "results")
        arms = [arm for arm in arms_for(setting, settings, None, {}) if arm.name in QUICK_ARMS]
        arms = [replace(arm, choices=arm.choices[:1]) for arm in arms]
        arms[1] = replace(arms[1], shares=(1.0, 0.5))
        price(home / "shards", setting, arms, results.path, 1)
        setting = replace(setting, prices=read_prices(results.path, setting.name))
        place = here(home / "shards", setting)
        tasks = whales(home / "tasks")
        options = Options(home / "shards", home / "work", lanes(2, 1), tasks=tasks, probe_steps=2, band_words=3)
        levels = measure_levels(home / "shards", setting, place, results.path)
        Queue(options, results).run(lambda losses, seen: pending(arms, setting, place, losses, seen))
        summary = summarise(results, arms, setting, place, levels)
        plot(summary, home / "curves.svg")
        write_table(results, home / "runs.arrow")
        print(text(summary))
        print(as_line([summary], "quick"))


def main() -> int:
    asked = arguments()
    if asked.quick:
        quick()
        return 0
    if asked.prepare:
        if not asked.data:
            print(f"error: {HOW}", file=sys.stderr)
            return 2
        return prepare(asked.prepare, asked.data)
    try:
        settings = with_prices(read_settings(), asked.results)
        if asked.setting not in settings:
            raise ArmError(f"no setting '{asked.setting}'; there are {', '.join(settings)}")
        setting, results = settings[asked.setting], Results(asked.results)
        if asked.report:
            report(results, settings, asked.setting)
            return 0
        if asked.late:
            if not asked.tasks:
                raise ArmError("--late: name --tasks DIR")
            print(f"{tune_late(results, asked.work, asked.tasks)} runs fine-tuned")
            return 0
        if not asked.data:
            print(f"error: {HOW}", file=sys.stderr)
            return 2
        if asked.price:
            place = best_place(results, settings[setting.choices_of or setting.name])
            arms = arms_for(setting, settings, place, results.losses())
            names = [arm.name for arm in arms if arm.tier <= setting.tiers]
            price(asked.data, setting, arms, asked.results, asked.rounds, asked.only or names)
            return 0
        return run(asked, setting, settings, results)
    except (ArmError, QueueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""A forecast of `prepare` as lines for people."""

from pipeline.forecast import Forecast, StageForecast
from pipeline.progress import clock
from pipeline.report.visible import visible_text

SHOWN_KINDS = 8


def size(count: float) -> str:
    """'12.3 MB'."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def lines(found: Forecast) -> list[str]:
    out = [f"{found.files:,} input files, {size(found.bytes)}; about {size(found.text_bytes)} of text"]
    for name, files, stored in found.kinds[:SHOWN_KINDS]:
        out.append(f"  {visible_text(name, 40):<12} {files:>9,} files  {size(stored):>10}")
    if left := found.kinds[SHOWN_KINDS:]:
        out.append(f"  {'others':<12} {sum(k[1] for k in left):>9,} files  {size(sum(k[2] for k in left)):>10}")
    out += ["", f"{'stage':<12} {'time':>8}  {'disk':>10}  state"]
    out += [_stage(stage) for stage in found.stages]
    total = "not told" if found.seconds is None else f"about {clock(found.seconds)}"
    workers = f"{found.workers} worker{'s' if found.workers > 1 else ''}"
    out += [
        "",
        f"in all {total} with {workers}, {size(found.disk_bytes)} of disk, {size(found.memory_mb * 1e6)} of memory",
    ]
    out.append(
        f"estimated: rates recorded in benchmarks/RESULTS.md, times {found.slowness:.1f} for this machine; clean at "
        f"{found.clean_mb_s:.1f} MB/s as just measured on the input; expect half or twice as much"
    )
    out += [f"note: {note}" for note in found.notes]
    out.append("dry run: nothing was written")
    return out


def _stage(stage: StageForecast) -> str:
    time = "" if stage.seconds is None else clock(stage.seconds)
    return f"{stage.name:<12} {time:>8}  {size(stage.disk_bytes):>10}  {stage.state}"

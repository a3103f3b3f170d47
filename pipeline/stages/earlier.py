"""The files of earlier runs are checked before deduplication reads them: workers hash them, part by part."""

from typing import Any

from pipeline.io import filesystem
from pipeline.stages.parts import PartWriter

KIND = "earlier"


def check_earlier(spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
    """Facts {"problem": what is wrong with the first unsound file of an earlier run's part, or None}.

    spec: directory, files ([path below it, bytes, sha256] each).
    """
    for path, size, sha256 in spec["files"]:
        whole = filesystem.join(spec["directory"], path)
        found = filesystem.size(whole)
        if found < 0:
            return {"problem": f"{whole} is missing"}
        if found != size:
            return {"problem": f"{whole} has {found:,} bytes, that run wrote {size:,}"}
        if (digest := filesystem.digest(whole)) != sha256:
            return {"problem": f"{whole}: sha256 {digest[:12]}..., that run wrote {sha256[:12]}..."}
    return {"problem": None}

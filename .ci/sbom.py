"""CycloneDX 1.6 bill of materials of constraints.txt, the versions that are locked and tested.

    python .ci/sbom.py > siliang.cdx.json

Licences are those that the installed packages state. Equal constraints and packages give equal bytes: the serial number
is a hash of the components, and there is no time in it.
"""

import json
import re
import sys
import tomllib
import uuid
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def component(name: str, version: str, kind: str = "library") -> dict[str, Any]:
    canonical = re.sub(r"[-_.]+", "-", name).lower()
    found: dict[str, Any] = {
        "type": kind,
        "bom-ref": f"pkg:pypi/{canonical}@{version}",
        "name": canonical,
        "version": version,
        "purl": f"pkg:pypi/{canonical}@{version}",
    }
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return found
    if expression := told.get("License-Expression"):
        found["licenses"] = [{"expression": expression}]
    elif named := sorted(
        c.rsplit(" :: ", 1)[-1] for c in told.get_all("Classifier", []) if c.startswith("License :: ")
    ):
        found["licenses"] = [{"license": {"name": one}} for one in named]
    return found


def bill(constraints: str, version: str) -> dict[str, Any]:
    """constraints: lines NAME==VERSION."""
    pinned = [line.split("==") for line in constraints.splitlines() if line.strip() and not line.startswith("#")]
    components = sorted((component(name, pin) for name, pin in pinned), key=lambda one: one["bom-ref"])
    subject = component("siliang", version, "application")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([subject, components]))}",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    json.dump(bill((ROOT / "constraints.txt").read_text(), project["version"]), sys.stdout, indent=1)
    sys.stdout.write("\n")

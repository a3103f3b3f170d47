"""A run that takes SECONDS and trains nothing: what the queue starts in its tests.

python fake_child.py SECONDS DIRECTORY
"""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.ablations.machine import end_with_parent

seconds, directory = float(sys.argv[1]), Path(sys.argv[2])
end_with_parent()
order = json.loads((directory / "order.json").read_bytes())
begun = directory.parent / "begun"
with begun.open("a") as log:
    log.write(directory.name + "\n")
time.sleep(seconds)
job = order["job"]
if job["arm"] == "broken":
    sys.exit("this arm cannot run")
outcome = {"loss": job["rate"], "curve": [{"seconds": 0.0}]}
# As results.write_json does, without the second that pyarrow takes to load.
(directory / ".tmp").write_text(json.dumps(outcome))
os.replace(directory / ".tmp", directory / "outcome.json")

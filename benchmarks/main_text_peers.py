"""The peers of main_text.py, in an interpreter of their own: `main_text_peers.py NAME PAGES.json` prints JSON."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

"""The commands of docs/adding.md, as a user would type them, one after another."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from schemas.manifest import read_manifest

pytestmark = pytest.mark.xdist_group("across")


@pytest.mark.slow
def test_commands_of_the_page(root, tmp_path):
    for name in ("samples", "docs"):
        (tmp_path / name).symlink_to(root / name)
    binaries = os.path.dirname(sys.executable)
    env = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    blocks = re.findall(r"```bash\n(.*?)```", (root / "docs/adding.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        done = subprocess.run(shlex.split(command), cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    manifest = read_manifest(tmp_path / "runs/adding/2024")
    assert sorted(manifest.sources) == ["2024", "2025"]
    assert manifest.vocabulary_note
    assert [run.name for run in read_manifest(tmp_path / "runs/adding/2025").against] == ["2024"]

"""The README's examples run: its 15 lines on a board, its 10 lines against it."""

import json
import os
import subprocess
import sys

import board_lab
import pytest

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]


def code_of(text: str) -> list[str]:
    """Return the lines of a program without its docstring, comments and blank lines."""
    body = text.split('"""')[2] if text.startswith('"""') else text
    lines = [line.split("  #")[0].rstrip() for line in body.splitlines()]
    return [line for line in lines if line]


def test_device_example_is_the_one_in_the_readme(project_root):
    example = (project_root / "examples" / "device_greet" / "main.py").read_text()
    blocks = (project_root / "README.md").read_text().split("```python\n")[1:]
    shown = [code_of(block.split("```")[0]) for block in blocks]
    assert [line.split(" #")[0].rstrip() for line in code_of(example)] in [
        [line.split(" #")[0].rstrip() for line in block] for block in shown
    ]


def test_examples_greet_one_another(project_root, tmp_path):
    lab = board_lab.Lab(tmp_path, masters=1)
    home = tmp_path / "client"
    with lab.serve(), lab.board(lab.build(app=project_root / "examples" / "device_greet"), heap="256K") as board:
        lab.run(lambda client: lab.pair(client))
        config = tmp_path / "client.json"
        upeer = [sys.executable, "-m", "upeer_cli.main"]
        subprocess.run([*upeer, "platform", "client", lab.platform, "--out", config], check=True, capture_output=True)
        command = [sys.executable, project_root / "examples" / "client_greet.py", lab.dids[0]]
        variables = os.environ | {"UPEER_HOME": str(home), "UPEER_CLIENT": str(config)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (0, "hello you\n"), done.stderr
        board.wait_for("a client came over ")
    assert json.loads(config.read_text())["key_id"] == lab.config().key_id

"""`python -m blendtorch.btb [SCENE.blend] SCRIPT.py -- ARGS`, started by hand."""

import os
import signal
import subprocess
import textwrap

import pytest


@pytest.fixture
def run(blender, tmp_path):
    """Runs a script's text as an instance; returns exit status and output."""

    def run_text(text: str, *args: str, scene: str | None = None) -> tuple[int, str]:
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(text))
        command = [blender, "-m", "blendtorch.btb", *([scene] if scene else []), str(script), "--", *args]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        return done.returncode, done.stdout

    return run_text


def test_arguments_reach_the_script(run, tmp_path):
    code, output = run(
        """
        import sys
        from blendtorch import btb
        args, remainder = btb.parse_blendtorch_args()
        print("got", __name__, __file__ == sys.argv[0], args.btid, args.btseed, args.btsockets, remainder)
        """,
        *["-btid", "2", "--own", "x", "-btseed", "40", "-btsockets", "DATA=tcp://127.0.0.1:1", "CTRL=ipc:///tmp/c"],
    )
    assert code == 0
    sockets = {"DATA": "tcp://127.0.0.1:1", "CTRL": "ipc:///tmp/c"}
    assert f"got __main__ True 2 42 {sockets} ['--own', 'x']" in output


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 0),
        ("import sys; sys.exit(5)", 5),
        ("import sys; sys.exit('in words')", 1),
        ("raise ValueError('wrong')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 128 + signal.SIGTERM),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", 130),
        # Blender 4.2 and 4.5 do not survive the interpreter's own end with these registered.
        ("import bpy; bpy.app.handlers.frame_change_pre.append(print); bpy.app.timers.register(print)", 0),
    ],
)
def test_exit_status(run, text, status):
    code, output = run(text)
    assert code == status
    if status == 1:
        assert "in words" in output or "ValueError: wrong" in output


def test_script_imports_what_lies_beside_it(run, tmp_path):
    (tmp_path / "neighbour.py").write_text("NAME = 'hello from beside'")
    assert "hello from beside" in run("import neighbour; print(neighbour.NAME)")[1]


@pytest.mark.parametrize("args", [[], ["a.blend", "b.py", "c.py"], ["--help"]])
def test_usage(blender, args):
    done = subprocess.run([blender, "-m", "blendtorch.btb", *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "usage: python -m blendtorch.btb [SCENE.blend] [SCRIPT.py] -- ARGS" in done.stderr


def test_missing_scene_and_script(run, blender):
    code, output = run("", scene="nowhere.blend")
    assert code == 1
    assert "there is no scene nowhere.blend" in output


def test_plain_python_reports_an_exception_and_ends(blender, tmp_path):
    """Without the runner, as under `blender --python`: the exit status is still 1, and nothing hangs."""
    script = tmp_path / "script.py"
    script.write_text(
        "import bpy\nfrom blendtorch import btb\nbtb.parse_blendtorch_args()\n"
        "bpy.app.handlers.frame_change_pre.append(print)\nanim = btb.AnimationController()\n"
        "anim.post_frame.add(lambda: 1 / 0)\nanim.play((1, 3), 1)\n"
    )
    done = subprocess.run([blender, script], stderr=subprocess.PIPE, text=True, timeout=60, env={**os.environ})
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr

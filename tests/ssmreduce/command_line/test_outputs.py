"""What was asked for is written first, and no stream, encoding, name or interruption loses it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce import Comparison, ComparisonInterrupted, compare, load, save
from ssmreduce.command_line.outputs import OutputError, check_outputs, deliver, say
from ssmreduce.command_line.parser import main
from ssmreduce.files.errors import CheckpointIOError
from ssmreduce.files.model import Model
from ssmreduce.files.writing import is_stream, write_files
from ssmreduce.progress import progress_bar
from theory.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
QUICK = ("--methods", "balanced,modal", "--orders", "2", "--crosscheck", "none")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = {"params": {"layers_0": {"seq": s5_params(np.random.default_rng(0), 4, 2)}}}
    path = tmp_path_factory.mktemp("model") / "model.npz"
    save(Model(tree=tree, options={"conj_sym": True, "discretization": "zoh"}, training={}), path)
    return path


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, where ``$S`` is the command."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "S": f"{sys.executable} -m ssmreduce", **environment}
    return subprocess.run(["bash", "-c", line], cwd=cwd, env=variables, capture_output=True, timeout=120, check=False)


STREAMS = {
    "a reader that has gone": ("| true; exit ${PIPESTATUS[0]}", 0, b"", ("json",)),
    "a full output": (">/dev/full", 6, b"No space left", ("html", "json")),
    "a closed output": (">&-", 6, b"closed", ("json",)),
    "closed input and errors": ("<&- 2>&- >/dev/null", 0, b"", ("json",)),
}
"""What the shell says, the exit status, what is told, and the files asked for: figures take longest, one is enough."""


@pytest.mark.parametrize("stream", STREAMS)
def test_files_are_written_whatever_becomes_of_the_output(stream: str, checkpoint: Path, tmp_path: Path) -> None:
    where, status, told, kinds = STREAMS[stream]
    files = " ".join(f"--{kind} c.{kind}" for kind in kinds)
    line = f"$S compare {checkpoint} {' '.join(QUICK)} --conj-sym {files} {where}"
    done = shell(line, tmp_path)
    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert b"Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"c.{kind}" for kind in kinds]
    Comparison.from_json((tmp_path / "c.json").read_text())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_our_letters_gets_others(encoding: str, checkpoint: Path, tmp_path: Path) -> None:
    for command in (f"compare {checkpoint} {' '.join(QUICK)}", f"inspect {checkpoint}"):
        done = shell(f"$S {command} --conj-sym", tmp_path, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        assert "error >=" in text or "1 - |pole| >=" in text


HOSTILE = ("a\x1b]0;OWNED\x07b\n", "[link=http://evil][/b]", "$\\frac{1}{$", "\u202e日本\udcff")

UNSEEN = set("\x1b\x07\u202e\udcff")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_files_are_data(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    layer = load(checkpoint, conj_sym=True).layers[0].replace(name=name)
    found = compare(layer, ["balanced", "last"], [2], crosscheck="none")
    found.plot(tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 10_000
    for text in (str(found), found.to_html()) if set(name) & UNSEEN else (str(found),):  # a page's figures take long
        assert not set(text) & UNSEEN
        text.encode()
    head = str(found).splitlines()[0]
    assert head.startswith("S5 layer ")
    for part in ("[/b]", "[link=http://evil]", "\\frac{1}{$", "日本"):
        assert (part in head) == (part in name)


def test_hostile_keys_pass_through_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a\x1b]0;OWNED\x07b", "a[/b]"):
        tree = {"params": {name: {"seq": s5_params(np.random.default_rng(0), 4, 2)}}}
        save(
            Model(tree=tree, options={"conj_sym": True, "discretization": "zoh"}, training={}),
            tmp_path / "m.safetensors",
        )
        for command in ("inspect", "compare", "reduce"):
            more = {"reduce": ("--order", "2", "-o", str(tmp_path / "o.npz"), "--force"), "compare": QUICK}
            assert main([command, str(tmp_path / "m.safetensors"), *more.get(command, ())]) == 0
            out, err = capsys.readouterr()
            assert "\x1b" not in out + err
            assert "\\x1b]0;OWNED\\x07b" in out or "a[/b]" in out
    assert main(["compare", str(tmp_path / "m.safetensors"), "--layer", "x\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_every_format_goes_to_the_output(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    begins = {"--json": b"{", "--html": b"<!DOCTYPE html>", "--plot": b"\x89PNG"}
    for option, begin in begins.items():
        if option == "--plot":
            pytest.importorskip("matplotlib")
        assert main(["compare", str(checkpoint), "--conj-sym", *QUICK, option, "-"]) == 0
        out = capfdbinary.readouterr().out
        assert out.startswith(begin)
        assert b"error" not in out[-40:]
    assert main(["reduce", str(checkpoint), "--conj-sym", "--order", "2", "-o", "-"]) == 0
    (tmp_path / "out.npz").write_bytes(capfdbinary.readouterr().out)
    assert load(tmp_path / "out.npz", conj_sym=True).layers[0].order == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_three_files_or_none(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    calls = 0
    move = os.replace

    def second_fails(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    status = main(["compare", str(checkpoint), "--conj-sym", *QUICK, "--output", str(tmp_path)])
    assert (status, capsys.readouterr().out) == (6, "")
    assert not list(tmp_path.iterdir())


NAMES = {
    "empty checkpoint": ("compare", ""),
    "empty output": ("reduce", "{}", "--order", "2", "-o", ""),
    "empty json": ("inspect", "{}", "--json", ""),
    "one name twice": ("compare", "{}", "--json", "a", "--html", "./a"),
    "the output twice": ("compare", "{}", "--json", "-", "--plot", "-"),
    "negative seed": ("compare", "{}", "--methods", "random", "--seed", "-1"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_make_no_sense(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main([part.format(checkpoint) for part in NAMES[name]])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", [".", "/", "x" * 300, "a\0b"])
def test_outputs_that_are_no_files(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def write() -> None:
        check_outputs({"--json": target})
        deliver([(target, b"x")])

    with pytest.raises((OutputError, InputError)):
        write()
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_the_finished_rows(checkpoint: Path) -> None:
    layer = load(checkpoint, conj_sym=True).layers[0]
    whole = compare(layer, ["balanced", "modal"], [1, 2, 3], crosscheck="none")
    certified = 0

    def stop(done: int, total: int, what: str) -> None:
        nonlocal certified
        certified += what.startswith("certified")
        if certified == 2:
            raise KeyboardInterrupt

    with pytest.raises(ComparisonInterrupted) as caught:
        compare(layer, ["balanced", "modal"], [1, 2, 3], crosscheck="none", threads=1, progress=stop)
    finished = caught.value.finished
    brackets = {(row.method, row.order): (row.error.lower, row.error.upper) for row in whole.rows}
    assert len(finished.rows) == 2
    for row in finished.rows:
        assert (row.error.lower, row.error.upper) == brackets[row.method, row.order]
    assert "INTERRUPTED" in str(finished)
    assert "Interrupted" in finished.to_html()

    def at_once(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught_at_once:
        compare(layer, orders=[1], crosscheck="none", progress=at_once)
    assert not isinstance(caught_at_once.value, ComparisonInterrupted)


def test_ctrl_c_prints_and_writes_what_is_finished(checkpoint: Path, tmp_path: Path) -> None:
    """The signal comes while the second error is put into its row."""
    code = (
        "import itertools, os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in what a shell starts in the background
        "from ssmreduce.comparison import work\n"
        "from ssmreduce.command_line.parser import main\n"
        "certified = work._with_error\n"
        "def then_interrupt(*a):\n"
        "    row = certified(*a)\n"
        "    if next(order):\n"  # one of two threads, whichever is later: a list may still be empty for both
        "        time.sleep(1)\n"  # for the first row to arrive
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(2)\n"  # for the main thread to hear it before the row is done
        "    return row\n"
        "order = itertools.count()\n"
        "work._with_error = then_interrupt\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "compare", str(checkpoint), "--conj-sym", *QUICK, "--json", "c.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 130, done.stderr
    assert b"INTERRUPTED" in done.stdout
    assert Comparison.from_json((tmp_path / "c.json").read_text()).provenance["interrupted"].startswith("1 of 2")


def test_progress_moves_while_one_job_takes_long() -> None:
    stream = io.StringIO()
    with progress_bar(stream=stream, every=0.01) as report:
        report(0, 3, "norm of the layer")
        until = time.monotonic() + 20
        while stream.getvalue().count("norm of the layer") < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert stream.getvalue().count("0/3 norm of the layer") >= 3


def test_a_stream_that_breaks_does_not_stop_the_work() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with progress_bar(stream=Broken(), every=0.001) as report:
        for i in range(5):
            report(i, 5, "job")
            time.sleep(0.005)


def test_a_closed_output_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="closed"):
        say("text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a POSIX system")
def test_a_pipe_is_written_into_and_never_replaced(checkpoint: Path, tmp_path: Path) -> None:
    """As root a device would be replaced by a file: ``--json /dev/null`` must leave the machine as it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    assert main(["inspect", str(checkpoint), "--json", str(pipe), "-q", "--no-certify"]) == 0
    told, _ = reader.communicate(timeout=60)
    assert json.loads(told)["format"] == "ssmreduce-inspection"
    assert pipe.is_fifo()
    for output in (pipe, tmp_path / "pipe.npz"):
        if output != pipe:
            os.mkfifo(output)
        assert main(["convert", str(checkpoint), "-o", str(output), "--force", "-q"]) == 6
        assert output.is_fifo()
    with pytest.raises(CheckpointIOError, match="no file replaces"):
        write_files({pipe: b"x"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "pipe.npz"]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs a system with /dev/stdout")
def test_devices_are_streams(checkpoint: Path, tmp_path: Path) -> None:
    assert all(is_stream(Path(name)) for name in ("/dev/null", "/dev/stdout"))
    assert not is_stream(checkpoint)
    assert not is_stream(tmp_path)
    done = shell(f"$S inspect {checkpoint} --json /dev/stdout -q --no-certify > out.json", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((tmp_path / "out.json").read_text())["format"] == "ssmreduce-inspection"

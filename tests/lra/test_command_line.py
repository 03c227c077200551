"""The command line: help, exit codes, and the way from a run to a measured, reduced model."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from lra.__main__ import main
from lra.checkpoint import flatten, load_model, nest, save_model
from lra.config import load_config
from lra.errors import CheckpointError
from lra.evaluate import evaluate
from lra.models import OWN_OPTIONS, SHARED_OPTIONS, TASK_OPTIONS, build
from lra.tasks import load_task

pytestmark = pytest.mark.jax

SMOKE = ["--set", "epochs=2", "--set", "train_limit=150", "--set", "validation_limit=30", "--set", "n_layers=2"]
SMOKE += ["--set", "d_model=8", "--set", "ssm_size=8", "--quiet"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", "digits", "--workdir", str(folder / "run"), *SMOKE]) == 0
    assert main(["export", str(folder / "run"), str(folder / "model.safetensors")]) == 0
    return folder


def test_help(capsys):
    for command in ([], ["train"], ["evaluate"], ["export"]):
        with pytest.raises(SystemExit) as caught:
            main([*command, "--help"])
        assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "goes on when the same command is given again" in text
    assert main(["configs"]) == 0
    assert "digits" in capsys.readouterr().out


def test_an_exported_model_has_the_accuracy_that_its_run_found(exported, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(exported / "model.safetensors"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    meta = json.loads((exported / "model.json").read_text())
    assert result["accuracy"] == meta["training"]["test_accuracy"]
    assert result["examples"] == 360
    assert result["states"] == [4, 4]
    assert meta["options"]["task"] == "digits"
    assert meta["training"]["finished"]
    assert meta["training"]["unstable_poles"] == {}
    assert "data" not in meta["training"]["config"]


S4D = ["--set", "model=s4d", "--set", "opt_config=s4", "--set", "n_ssm=1", "--set", "A_init=legs"]
KINDS = {
    "s5": ["--set", "bidirectional=True", "--set", "C_init=complex_normal"],
    "s4d": [*S4D, "--set", "bidirectional=True", "--set", "discretization=bilinear", "--set", "batchnorm=False"],
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_run_is_exported_reduced_and_measured(kind, tmp_path):
    """Export, load, reduce, save, evaluate: nothing is lost at full order, fewer states are really stored below."""
    ssmreduce = pytest.importorskip("ssmreduce")
    run = ["train", "digits", "--workdir", str(tmp_path / "run"), *SMOKE, *KINDS[kind], "--set", "n_layers=1"]
    assert main(run) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "m.safetensors")]) == 0
    whole = evaluate(tmp_path / "m.safetensors")
    assert whole["accuracy"] == json.loads((tmp_path / "m.json").read_text())["training"]["test_accuracy"]
    model = ssmreduce.load(tmp_path / "m.safetensors")
    assert [layer.order for layer in model.layers] == whole["states"] == [4]
    same = evaluate(ssmreduce.reduce_model(model, ratio=0.0).save(tmp_path / "same.safetensors"))
    assert same["loss"] == pytest.approx(whole["loss"], rel=1e-4)
    assert same["states"] == [4]
    half = evaluate(ssmreduce.reduce_model(model, ratio=0.5).save(tmp_path / "half.safetensors"))
    assert half["states"] == [2]
    assert np.isfinite(half["loss"])


def test_options_of_a_checkpoint_can_be_changed(exported, capsys):
    path = str(exported / "model.safetensors")
    capsys.readouterr()
    assert main(["evaluate", path, "--json", "--set", "step_rescale=2"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] != evaluate(path)["loss"]
    assert main(["evaluate", path, "--set", "step_scale=2"]) == 2
    assert "no option 'step_scale'" in capsys.readouterr().err
    assert main(["evaluate", path, "--set", "task_options={'rate': 2}"]) == 2


def test_tokens_numbered_in_another_order_are_refused(tmp_path, monkeypatch):
    """ListOps numbers its tokens by frequency: two generated sets may differ, and a model knows one of them."""
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))
    nines, eights = ("[MAX 9 9 8 ]", 9), ("[MIN 8 8 9 ]", 8)
    for name, rows in (("mine", [nines, nines, eights]), ("other", [eights, eights, nines])):
        (tmp_path / name).mkdir()
        text = "Source\tTarget\n" + "".join(f"{source}\t{target}\n" for source, target in rows)
        for part in ("train", "val", "test"):
            (tmp_path / name / f"basic_{part}.tsv").write_text(text)
    task = load_task("listops", str(tmp_path / "mine"), {"L": 8})
    head = {name: getattr(task, name) for name in TASK_OPTIONS}
    fields = load_config("listops_small").flat()
    options = {name: fields[name] for name in (*SHARED_OPTIONS, *OWN_OPTIONS["s5"])}
    options |= {"n_layers": 1, "d_model": 4, **head}
    batch = task.batch(task.train, np.arange(1))
    variables = build("s5", 2, **options).init(jax.random.key(0), batch["x"], batch["lengths"])
    save_model(tmp_path / "m.safetensors", variables, {"architecture": "s5", **options, **task.facts()}, {})
    assert evaluate(tmp_path / "m.safetensors", data=str(tmp_path / "mine"))["examples"] == 3
    with pytest.raises(CheckpointError, match="another order"):
        evaluate(tmp_path / "m.safetensors", data=str(tmp_path / "other"))


def test_a_model_with_states_removed_is_measured_too(exported, tmp_path, capsys):
    variables, meta = load_model(exported / "model.safetensors")
    tensors = flatten(variables)
    for name in ("Lambda_re", "Lambda_im", "B", "log_step"):
        tensors[f"params/encoder/layers_1/seq/{name}"] = tensors[f"params/encoder/layers_1/seq/{name}"][:2]
    tensors["params/encoder/layers_1/seq/C"] = tensors["params/encoder/layers_1/seq/C"][:, :2]
    save_model(tmp_path / "r.safetensors", nest(tensors), {"architecture": "s5", **meta["options"]}, {})
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "r.safetensors"), "--json", "--split", "validation"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["states"] == [4, 2]
    assert result["examples"] == 180
    assert np.isfinite(result["loss"])


def test_arrays_that_do_not_fit_are_a_typed_error(exported, tmp_path, capsys):
    variables, meta = load_model(exported / "model.safetensors")
    for change in ({"n_layers": 3}, {"activation": "full_glu"}, {"d_model": 9}, {"task": "nothing"}):
        save_model(tmp_path / "r.safetensors", variables, {"architecture": "s5", **meta["options"], **change}, {})
        assert main(["evaluate", str(tmp_path / "r.safetensors")]) == 2, change
    assert "error:" in capsys.readouterr().err


def test_bad_input_has_exit_code_2_and_a_sentence(tmp_path, capsys):
    assert main(["train", "nothing", "--workdir", str(tmp_path)]) == 2
    assert main(["train", "digits", "--workdir", str(tmp_path), "--set", "lrr=1"]) == 2
    assert main(["evaluate", str(tmp_path)]) == 2
    assert main(["export", str(tmp_path), str(tmp_path / "m.safetensors")]) == 2
    assert capsys.readouterr().err.count("error:") == 4
    (tmp_path / "file").write_text("")
    assert main(["train", "digits", "--workdir", str(tmp_path / "file" / "run"), *SMOKE]) == 2

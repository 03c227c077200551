"""The command line: help, exit codes, and the way from a run to a measured, reduced model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lra.__main__ import main
from lra.checkpoint import flatten, load_model, nest, save_model

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


def test_ssmreduce_reads_the_export(exported):
    ssmreduce = pytest.importorskip("ssmreduce")
    model = ssmreduce.load(exported / "model.safetensors")
    assert [layer.order for layer in model.layers] == [4, 4]


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

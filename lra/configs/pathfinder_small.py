"""S5, bidirectional, on Pathfinder with short curves (contours of 6 paddles), 32 x 32, for two CPU cores.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: contours of 14 paddles, 6 layers, H 192, 128 stored states,
          200 epochs
Command   python -m lra data pathfinder FOLDER --contour-length 3 --images 60000
          python -m lra data pathfinder FOLDER --contour-length 6
          python -m lra train pathfinder_small --workdir runs/short --data FOLDER \\
              --set "task_options={'level': 'curv_contour_length_3'}"
          python -m lra export runs/short short.safetensors
          python -m lra train pathfinder_small --workdir runs/pathfinder --data FOLDER --set start=short.safetensors
Expect    accuracy: see lra/README.md; 0.4 s a step on one CPU core, 5000 steps an epoch

A run from random values stood at chance after 750 steps of 32 images (loss 0.70). On curves of three paddles the loss
falls within 400, and a model that has learned those goes on from there.
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="pathfinder",
    task_options={"level": "curv_baseline"},
    seed=2026,
    n_layers=4,
    d_model=48,
    ssm_size=64,
    s5=S5Options(blocks=1, C_init="trunc_standard_normal", activation="half_glu1"),
    bidirectional=True,
    dropout=0.0,
    bn_momentum=0.9,
    epochs=2,
    batch_size=32,
    ssm_lr=0.001,
    lr=0.004,
    weight_decay=0.03,
    opt_config="standard",
    warmup_epochs=0.1,
    eval_batch_size=200,
    checkpoint_every=500,
    log_every=50,
)

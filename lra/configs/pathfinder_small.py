"""S5, bidirectional, on Pathfinder's easiest level (32 x 32, snakes of six paddles), for one CPU core.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script: snakes of 14 paddles, 6 layers, H 192,
          200 epochs of 160,000 images
Data      python -m lra data pathfinder FOLDER --contour-length 6 --images 100000 --seed 0 (two minutes)
Command   python -m lra train pathfinder_small --workdir runs/pathfinder_small --data FOLDER
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
    s5=S5Options(blocks=4, C_init="trunc_standard_normal", activation="half_glu1", clip_eigs=True),
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=4,
    batch_size=64,
    ssm_lr=0.001,
    lr=0.004,
    weight_decay=0.03,
    warmup_epochs=0.25,
    eval_batch_size=200,
    checkpoint_every=200,
    log_every=20,
)

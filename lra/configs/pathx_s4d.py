"""S4D, bidirectional, on Path-X, 128 x 128.

Paper     Gu, Goel, Gupta, Re 2022 (S4D); the S4 code's v4 config of this task with layer=s4d (S4D-Lin)
Command   python -m lra train pathx_s4d --workdir runs/pathx_s4d --data FOLDER
Expect    96.0 % for S4 (not S4D) in the README of the S4 code; time not measured here
"""

from lra.config import Config
from lra.options import S4DOptions

config = Config(
    task="pathx",
    task_options={"centre": False},
    model="s4d",
    seed=3333,
    n_layers=6,
    d_model=256,
    ssm_size=64,
    s4d=S4DOptions(n_ssm=256, A_init="lin", dt_transform="softplus"),
    discretization="zoh",
    bidirectional=True,
    dt_min=0.0001,
    dt_max=0.1,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=50,
    batch_size=16,
    ssm_lr=0.001,
    lr=0.001,
    weight_decay=0.05,
    opt_config="s4_slow_C",
    dt_global=False,
    total_steps=500000,
    warmup_steps=50000,
)

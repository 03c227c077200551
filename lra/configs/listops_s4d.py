"""S4D, bidirectional, on ListOps at full length.

Paper     Gu, Goel, Gupta, Re 2022 (S4D); the S4 code's v4 config of this task with layer=s4d (S4D-Lin)
Command   python -m lra train listops_s4d --workdir runs/listops_s4d --data FOLDER
Expect    59.5 % for S4 (not S4D) in the README of the S4 code; time not measured here

As in the published runs padding reaches the norms; --set mask_padding=True keeps it out.
"""

from lra.config import Config
from lra.options import S4DOptions

config = Config(
    task="listops",
    model="s4d",
    seed=3333,
    n_layers=6,
    d_model=256,
    ssm_size=4,
    s4d=S4DOptions(n_ssm=1, A_init="lin", dt_transform="softplus"),
    discretization="zoh",
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.0,
    prenorm=False,
    batchnorm=True,
    bn_momentum=0.9,
    mask_padding=False,
    epochs=40,
    batch_size=32,
    ssm_lr=0.001,
    lr=0.01,
    weight_decay=0.05,
    opt_config="s4",
    dt_global=True,
    total_steps=120000,
    warmup_steps=12000,
)

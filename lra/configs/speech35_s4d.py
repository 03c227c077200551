"""S4D, bidirectional, on 35 spoken words at 16 kHz.

Paper     Gu, Goel, Gupta, Re 2022 (S4D); the S4 code's v4 config of this task with layer=s4d (S4D-Lin)
Command   python -m lra train speech35_s4d --workdir runs/speech35_s4d --data FOLDER
Expect    no accuracy is given with the S4 code's config; time not measured here
"""

from lra.config import Config
from lra.options import S4DOptions

config = Config(
    task="speech35",
    model="s4d",
    seed=2222,
    n_layers=6,
    d_model=128,
    ssm_size=64,
    s4d=S4DOptions(n_ssm=2, A_init="lin", dt_transform="softplus"),
    discretization="zoh",
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=40,
    batch_size=16,
    ssm_lr=0.001,
    lr=0.01,
    weight_decay=0.05,
    opt_config="s4",
    dt_global=False,
    total_steps=200000,
    warmup_steps=1000,
)

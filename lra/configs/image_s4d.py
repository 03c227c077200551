"""S4D, bidirectional, on grey CIFAR-10, pixel by pixel.

Paper     Gu, Goel, Gupta, Re 2022 (S4D); the S4 code's v4 config of this task with layer=s4d (S4D-Lin)
Command   python -m lra train image_s4d --workdir runs/image_s4d --data FOLDER
Expect    88.5 % for S4 (not S4D) in the README of the S4 code; time not measured here
"""

from lra.config import Config
from lra.options import S4DOptions

config = Config(
    task="image",
    model="s4d",
    seed=2222,
    n_layers=6,
    d_model=512,
    ssm_size=64,
    s4d=S4DOptions(n_ssm=1, A_init="lin", dt_transform="softplus"),
    discretization="zoh",
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.1,
    prenorm=False,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=200,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.01,
    weight_decay=0.05,
    opt_config="s4_slow_C",
    dt_global=False,
    total_steps=180000,
    warmup_steps=18000,
)

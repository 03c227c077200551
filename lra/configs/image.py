"""S5, bidirectional, on grey CIFAR-10, pixel by pixel.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script
Command   python -m lra train image --workdir runs/image --data FOLDER
Expect    88.00 % test accuracy in the paper; time not measured here, LAST's authors took 7.5 h on an RTX 3090 or A6000
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="image",
    seed=16416,
    n_layers=6,
    d_model=512,
    ssm_size=384,
    s5=S5Options(blocks=3, C_init="lecun_normal", clip_eigs=True, activation="half_glu1"),
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.1,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.95,
    epochs=250,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.0045,
    weight_decay=0.07,
    opt_config="BfastandCdecay",
    dt_global=False,
    warmup_epochs=1.0,
)

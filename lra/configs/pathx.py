"""S5, bidirectional, on Path-X, 128 x 128.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script
Command   python -m lra train pathx --workdir runs/pathx --data FOLDER
Expect    98.58 % test accuracy in the paper; time not measured here, LAST's authors took 24 h on an RTX 3090 or A6000

Data: the Long Range Arena release, or python -m lra data pathfinder FOLDER --resolution 128
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="pathx",
    seed=6429262,
    n_layers=6,
    d_model=128,
    ssm_size=256,
    s5=S5Options(blocks=16, C_init="complex_normal", activation="half_glu1"),
    bidirectional=True,
    dt_min=0.0001,
    dt_max=0.1,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=75,
    batch_size=32,
    ssm_lr=0.0006,
    lr=0.0018,
    weight_decay=0.06,
    opt_config="BandCdecay",
    dt_global=False,
    warmup_epochs=1.0,
)

"""S5, bidirectional, on Pathfinder, 32 x 32.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script
Command   python -m lra train pathfinder --workdir runs/pathfinder --data FOLDER
Expect    95.33 % test accuracy in the paper; time not measured here, LAST's authors took 11 h on an RTX 3090 or A6000

Data: the Long Range Arena release, or python -m lra data pathfinder FOLDER
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="pathfinder",
    seed=8180844,
    n_layers=6,
    d_model=192,
    ssm_size=256,
    s5=S5Options(blocks=8, C_init="trunc_standard_normal", activation="half_glu1"),
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.05,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=200,
    batch_size=64,
    ssm_lr=0.0009,
    lr=0.0045,
    weight_decay=0.03,
    opt_config="standard",
    dt_global=False,
    warmup_epochs=1.0,
)

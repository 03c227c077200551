"""S5, bidirectional, on 35 spoken words at 16 kHz.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script
Command   python -m lra train speech35 --workdir runs/speech35 --data FOLDER
Expect    96.52 % test accuracy in the paper; time not measured here, LAST's authors took 8 h on an RTX 3090 or A6000
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="speech35",
    seed=4062966,
    n_layers=6,
    d_model=96,
    ssm_size=128,
    s5=S5Options(blocks=16, C_init="lecun_normal", activation="half_glu1"),
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.1,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.95,
    epochs=40,
    batch_size=16,
    ssm_lr=0.002,
    lr=0.008,
    weight_decay=0.04,
    opt_config="noBCdecay",
    dt_global=False,
    warmup_epochs=1.0,
)

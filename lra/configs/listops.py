"""S5, bidirectional, on ListOps at full length.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script
Command   python -m lra train listops --workdir runs/listops --data FOLDER
Expect    62.15 % test accuracy in the paper; time not measured here, LAST's authors took 2 h on an RTX 3090 or A6000

Data: the Long Range Arena release, or python -m lra data listops FOLDER/listops-1000
As in the published runs padding reaches the reverse scan and the norms; --set mask_padding=True keeps it out.
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="listops",
    seed=6554595,
    n_layers=8,
    d_model=128,
    ssm_size=16,
    s5=S5Options(blocks=8, C_init="lecun_normal", activation="half_glu2"),
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.95,
    mask_padding=False,
    epochs=40,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.003,
    weight_decay=0.04,
    opt_config="BfastandCdecay",
    dt_global=False,
    warmup_epochs=1.0,
)

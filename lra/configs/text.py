"""S5, bidirectional, on IMDB reviews, character by character.

Paper     Smith, Warrington, Linderman 2023 (S5), the published run script
Command   python -m lra train text --workdir runs/text --data FOLDER
Expect    89.31 % test accuracy in the paper; time not measured here, LAST's authors took 1.5 h on an RTX 3090 or A6000

The paper trains on 25,000 reviews and chooses its epoch on the test set; here 2,500 of them are the validation split.
As in the published runs padding reaches the reverse scan and the norms; --set mask_padding=True keeps it out.
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="text",
    seed=8825365,
    n_layers=6,
    d_model=256,
    ssm_size=192,
    s5=S5Options(blocks=12, C_init="lecun_normal", activation="half_glu2"),
    bidirectional=True,
    dt_min=0.001,
    dt_max=0.1,
    dropout=0.1,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.95,
    mask_padding=False,
    epochs=35,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.004,
    weight_decay=0.07,
    opt_config="standard",
    dt_global=True,
    warmup_epochs=0.0,
)

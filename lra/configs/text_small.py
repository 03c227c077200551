"""S5, bidirectional, on the first 1023 characters of an IMDB review, for two CPU cores.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: 4096 characters, 6 layers, H 256, 35 epochs
Command   python -m lra train text_small --workdir runs/text_small --data FOLDER
Expect    accuracy: see lra/README.md; about 25 minutes on two idle CPU cores (0.33 s a step, 450 steps an epoch)
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="text",
    task_options={"L": 1024},
    seed=2026,
    n_layers=3,
    d_model=64,
    ssm_size=64,
    s5=S5Options(blocks=4, C_init="lecun_normal", activation="half_glu2"),
    bidirectional=True,
    dropout=0.1,
    mask_padding=True,
    epochs=8,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.004,
    weight_decay=0.07,
    dt_global=True,
    warmup_epochs=0.5,
    checkpoint_every=200,
    log_every=20,
)

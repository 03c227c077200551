"""S5 on sequential MNIST: the S5 paper's model, with as many epochs as two CPU cores finish in half an hour.

Paper     Smith, Warrington, Linderman 2023 (S5); LAST uses the same sizes. 4 layers, H 96, state size 128,
          unidirectional, batch 50; 150 epochs and dropout 0.1 there, 2 epochs and no dropout here (for the paper's
          run: --set epochs=150 --set dropout=0.1 --set warmup_epochs=1)
Command   python -m lra train smnist --workdir runs/smnist --data FOLDER
Expect    see lra/README.md; 0.55 s a step on two CPU cores, 1080 steps an epoch
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="smnist",
    seed=2026,
    n_layers=4,
    d_model=96,
    ssm_size=128,
    s5=S5Options(blocks=1, C_init="lecun_normal"),
    dropout=0.0,
    epochs=2,
    batch_size=50,
    ssm_lr=2e-3,
    lr=8e-3,
    weight_decay=0.01,
    warmup_epochs=0.3,
    checkpoint_every=200,
    log_every=20,
)

"""S4D on sequential MNIST, small enough for two CPU cores.

Paper     Gu, Goel, Gupta, Re 2022 (S4D); the sizes are ours: 4 layers of H 64, 16 stored states a channel, two epochs
Command   python -m lra train smnist_s4d_small --workdir runs/smnist_s4d_small --data FOLDER
Expect    accuracy: see lra/README.md; about 20 minutes on two idle CPU cores (0.52 s a step, 1080 steps an epoch)
"""

from lra.config import Config
from lra.options import S4DOptions

config = Config(
    task="smnist",
    model="s4d",
    seed=2026,
    n_layers=4,
    d_model=64,
    ssm_size=32,
    s4d=S4DOptions(A_init="lin"),
    bidirectional=False,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    epochs=2,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.01,
    weight_decay=0.05,
    opt_config="s4",
    warmup_epochs=0.2,
    eval_batch_size=200,
    checkpoint_every=200,
    log_every=20,
)

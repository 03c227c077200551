"""S5 on sequential MNIST, small enough for two CPU cores.

Paper     Smith, Warrington, Linderman 2023 (S5): 4 layers, H 96, 64 stored states, 150 epochs; here 3 layers, H 64,
          32 stored states, two epochs
Command   python -m lra train smnist_s5_small --workdir runs/smnist_s5_small --data FOLDER
Expect    accuracy: see lra/README.md; about 8 minutes on two idle CPU cores (0.19 s a step, 1080 steps an epoch)
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="smnist",
    seed=2026,
    n_layers=3,
    d_model=64,
    ssm_size=64,
    s5=S5Options(blocks=1, C_init="lecun_normal"),
    dropout=0.0,
    epochs=2,
    batch_size=50,
    ssm_lr=0.002,
    lr=0.008,
    weight_decay=0.01,
    warmup_epochs=0.2,
    eval_batch_size=200,
    checkpoint_every=200,
    log_every=20,
)

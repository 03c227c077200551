"""S5, bidirectional, on grey CIFAR-10, for two CPU cores.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: 6 layers, H 512, 192 stored states, 250 epochs
Command   python -m lra train image_small --workdir runs/image_small --data FOLDER
Expect    accuracy: see lra/README.md; about 30 minutes on two idle CPU cores (0.39 s a step, 900 steps an epoch)
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="image",
    seed=2026,
    n_layers=3,
    d_model=64,
    ssm_size=64,
    s5=S5Options(blocks=1, C_init="lecun_normal", clip_eigs=True),
    bidirectional=True,
    dropout=0.0,
    epochs=5,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.0045,
    weight_decay=0.07,
    opt_config="BfastandCdecay",
    warmup_epochs=0.5,
    eval_batch_size=200,
    checkpoint_every=200,
    log_every=20,
)

"""S5, bidirectional, on eight spoken words at 4 kHz (4000 samples), for two CPU cores.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: 35 words at 16 kHz, 6 layers, H 96, 40 epochs
Command   python -m lra train speech8_small --workdir runs/speech8_small --data FOLDER
Expect    81 % of the test words (lra/README.md); 68 minutes on two busy CPU cores (391 steps an epoch)
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="speech8",
    task_options={"half_rate": True},
    seed=2026,
    n_layers=4,
    d_model=48,
    ssm_size=64,
    s5=S5Options(blocks=8, C_init="lecun_normal", clip_eigs=True),
    bidirectional=True,
    dropout=0.1,
    epochs=12,
    batch_size=16,
    ssm_lr=0.002,
    lr=0.008,
    weight_decay=0.04,
    opt_config="noBCdecay",
    warmup_epochs=0.5,
    eval_batch_size=50,
    checkpoint_every=100,
    log_every=20,
)

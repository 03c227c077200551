"""S5, one direction, on eight spoken words at 8 kHz (8000 samples), for two CPU cores: a model that can stream.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: 35 words at 16 kHz, both directions, 6 layers, H 96,
          40 epochs
Command   python -m lra train speech8_stream_small --workdir runs/speech8_stream_small --data FOLDER
Expect    accuracy: see lra/README.md (391 steps an epoch)
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="speech8",
    seed=2026,
    n_layers=4,
    d_model=48,
    ssm_size=64,
    s5=S5Options(blocks=8, C_init="lecun_normal", clip_eigs=True),
    bidirectional=False,
    dropout=0.1,
    epochs=10,
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

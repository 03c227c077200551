"""S5 on scikit-learn's digits (64 samples a sequence): for the tests, and for a first look.

Paper     none; a task of our own
Command   python -m lra train digits --workdir runs/digits
Expect    97.5 % test accuracy (360 images) after 20 epochs, 20 seconds on two CPU cores
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="digits",
    n_layers=2,
    d_model=32,
    ssm_size=32,
    s5=S5Options(blocks=1, C_init="lecun_normal"),
    epochs=20,
    batch_size=50,
    ssm_lr=2e-3,
    lr=8e-3,
    weight_decay=0.01,
    warmup_epochs=1,
    checkpoint_every=100,
    log_every=25,
)

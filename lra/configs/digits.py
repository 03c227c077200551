"""S5 on scikit-learn's digits, small enough for a laptop and for the tests.

Command   python -m lra train digits --workdir runs/digits
"""

from lra.config import Config

config = Config(
    task="digits",
    n_layers=2,
    d_model=32,
    ssm_size=32,
    blocks=1,
    C_init="lecun_normal",
    epochs=20,
    batch_size=50,
    ssm_lr=2e-3,
    lr=8e-3,
    weight_decay=0.01,
    warmup_epochs=1,
    checkpoint_every=100,
    log_every=25,
)

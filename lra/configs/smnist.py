"""S5 on sequential MNIST: the model of the S5 and LAST papers, with a CPU's number of epochs.

Paper     Smith et al. 2023 (S5), table of hyper-parameters: 4 layers, H 96, state size 128, unidirectional, 150 epochs
Command   python -m lra train smnist --workdir runs/smnist --data FOLDER
"""

from lra.config import Config

config = Config(
    task="smnist",
    seed=2026,
    n_layers=4,
    d_model=96,
    ssm_size=128,
    blocks=1,
    C_init="lecun_normal",
    dropout=0.0,
    epochs=5,
    batch_size=50,
    ssm_lr=2e-3,
    lr=8e-3,
    weight_decay=0.01,
    warmup_epochs=0.5,
    checkpoint_every=200,
    log_every=20,
)

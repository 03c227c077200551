"""S4D, bidirectional, on ListOps with shorter trees (21 to 199 tokens), for two CPU cores.

Paper     Gu, Goel, Gupta, Re 2022 (S4D): 6 layers of H 256, 2 stored states a channel, 40 epochs of 96,000 trees of 501
          to 1999 tokens; the trees here come from the same distribution, kept if shorter; 8 stored states a channel
Command   python -m lra data listops FOLDER/listops-small --train 40000 --validation 2000 --test 2000 --min-length 20 \\
              --max-length 200 --seed 0
          python -m lra train listops_s4d_small --workdir runs/listops_s4d_small --data FOLDER
Expect    accuracy: see lra/README.md
"""

from lra.config import Config
from lra.options import S4DOptions

config = Config(
    task="listops",
    model="s4d",
    task_options={"L": 200, "folder": "listops-small"},
    seed=2026,
    n_layers=6,
    d_model=64,
    ssm_size=16,
    s4d=S4DOptions(A_init="lin"),
    bidirectional=True,
    dropout=0.0,
    prenorm=True,
    batchnorm=True,
    bn_momentum=0.9,
    mask_padding=True,
    epochs=8,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.01,
    weight_decay=0.05,
    opt_config="s4",
    warmup_epochs=0.5,
    checkpoint_every=200,
    log_every=20,
)

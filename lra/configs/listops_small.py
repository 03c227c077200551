"""S5, bidirectional, on ListOps with shorter trees (21 to 199 tokens), for two CPU cores.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: 8 layers, H 128, 40 epochs of 96,000 trees of 501 to 1999
          tokens; the trees here come from the same distribution, kept if shorter
Command   python -m lra data listops FOLDER/listops-small --train 40000 --validation 2000 --test 2000 --min-length 20 \\
              --max-length 200 --seed 0
          python -m lra train listops_small --workdir runs/listops_small --data FOLDER
Expect    accuracy: see lra/README.md; about 20 minutes on two CPU cores (0.1 s a step, 800 steps an epoch)
"""

from lra.config import Config
from lra.options import S5Options

config = Config(
    task="listops",
    task_options={"L": 200, "folder": "listops-small"},
    seed=2026,
    n_layers=6,
    d_model=64,
    ssm_size=16,
    s5=S5Options(blocks=8, C_init="lecun_normal", activation="half_glu2"),
    bidirectional=True,
    mask_padding=True,
    epochs=15,
    batch_size=50,
    ssm_lr=0.001,
    lr=0.003,
    weight_decay=0.04,
    opt_config="BfastandCdecay",
    warmup_epochs=1.0,
    checkpoint_every=200,
    log_every=20,
)

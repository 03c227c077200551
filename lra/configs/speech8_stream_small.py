"""S5, one direction, on eight spoken words at 8 kHz (8000 samples), for two CPU cores: a model that can stream.

Paper     Smith, Warrington, Linderman 2023 (S5), table D.1: 35 words at 16 kHz, both directions, 6 layers, H 96,
          40 epochs
Command   python -m lra train speech8_stream_small --workdir runs/speech8_stream_small --data FOLDER
Expect    66.7 % of the test words after 4 epochs (lra/README.md), 50 minutes on one CPU core (391 steps an epoch)

What is not named here is as in ``speech8_small``.
"""

from dataclasses import replace

from lra.configs.speech8_small import config as both_directions

config = replace(both_directions, task_options={}, bidirectional=False, epochs=10)

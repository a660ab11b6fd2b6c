"""The only training loop, checkpoints, and replay of any measurement from them."""

from isthmus.training.checkpoints import Checkpoint
from isthmus.training.loop import train
from isthmus.training.recorder import Recorder
from isthmus.training.trajectory import Trajectory, open_trajectory, replay

__all__ = ["Checkpoint", "Recorder", "Trajectory", "open_trajectory", "replay", "train"]

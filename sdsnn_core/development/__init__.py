"""Structural development (SD-SNN) as pure functions on tensors: ranges, unit pruning, regeneration, synapse stage.

Nothing here knows SLAYER; `sdsnn.train.development.developer` binds the rules to a model. Importing
this package costs nothing; its modules other than `config` and `schedule` import torch.
"""

from .config import DEFECTS, DevelopmentConfig
from .schedule import Schedule

__all__ = ["DEFECTS", "DevelopmentConfig", "Schedule"]

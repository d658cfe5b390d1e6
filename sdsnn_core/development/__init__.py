"""Rules of structural development (SD-SNN) as pure functions on tensors; they know nothing of SLAYER.

`sdsnn.train.development.developer` applies them to a model. `config` and `schedule` load without torch.
"""

from .config import DEFECTS, DevelopmentConfig
from .schedule import Schedule

__all__ = ["DEFECTS", "DevelopmentConfig", "Schedule"]

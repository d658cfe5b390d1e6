from sdsnn.deploy.energy.energy import price as price
from sdsnn.deploy.placement.place import place as place
from sdsnn.deploy.report.report import make_report as report
from sdsnn.deploy.simulate.backends import simulate as simulate
from sdsnn.deploy.simulate.backends import verify as verify
from sdsnn.export.check.check import check as check
from sdsnn.export.files import read_network as read
from sdsnn.export.files import write_network as write
from sdsnn.export.float_import.read import import_file as import_
from sdsnn.train.development.developer import Developer as Developer
from sdsnn.train.fused import fuse as fuse
from sdsnn.train.run.parts.own import Parts as Parts
from sdsnn.train.slayer.lowering import lower as lower
from sdsnn.train.slayer.raising import raise_ as raise_
from sdsnn.zoo.zoo import load as load
from sdsnn_core.activity import Activity as Activity
from sdsnn_core.compaction import compact as compact
from sdsnn_core.development import DevelopmentConfig as DevelopmentConfig
from sdsnn_core.errors import BackendError as BackendError
from sdsnn_core.errors import ConfigError as ConfigError
from sdsnn_core.errors import FileError as FileError
from sdsnn_core.errors import MissingDependency as MissingDependency
from sdsnn_core.errors import NetworkError as NetworkError
from sdsnn_core.errors import SdsnnError as SdsnnError
from sdsnn_core.errors import UnsupportedNode as UnsupportedNode
from sdsnn_core.network import AdaptiveLif as AdaptiveLif
from sdsnn_core.network import Convolution as Convolution
from sdsnn_core.network import CubaLif as CubaLif
from sdsnn_core.network import Delta as Delta
from sdsnn_core.network import Input as Input
from sdsnn_core.network import Network as Network
from sdsnn_core.network import Output as Output
from sdsnn_core.network import Population as Population
from sdsnn_core.network import RefractoryLif as RefractoryLif
from sdsnn_core.network import Resonator as Resonator
from sdsnn_core.network import Sigma as Sigma
from sdsnn_core.network import SigmaDelta as SigmaDelta
from sdsnn_core.network import Synapses as Synapses

from . import train as train  # the room itself, which can be called: sdsnn.train(config)

__version__: str

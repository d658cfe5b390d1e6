"""A trained dense network, of which there is only a .net file, loses half of its synapses."""

import sdsnn

# Stands for the file that you have: a dense network, trained without development.
dense = ["optimiser.epochs=8", "model.hidden=[64]", "data.n_steps=12", "threads=1"]
off = ["development.pruning=false", "development.synapse_stage=false", "development.regeneration=false"]
result = sdsnn.train("digits", "runs/dense", settings=[*dense, *off])
sdsnn.write(sdsnn.lower(result.trainer.model, result.trainer.data.shape), "dense.net")

# Compressing it: the network of the file becomes the model, and development removes synapses while it is fine-tuned.
theirs = sdsnn.read("dense.net")
settings = ["optimiser.epochs=10", "optimiser.learning_rate=1e-3", "data.n_steps=12", "threads=1"]
settings += ["development.target_sparsity=0.57", "development.pruning=false"]
compressed = sdsnn.train("digits", "runs/compressed", settings=settings, init=theirs)
small = sdsnn.compact(sdsnn.lower(compressed.trainer.model, compressed.trainer.data.shape)).network
sdsnn.write(small, "small.net")

before = sum(synapses.n_weights for synapses in theirs.projections.values())
after = sum(synapses.n_weights for synapses in small.projections.values())
print(f"test accuracy before {compressed.initial.test:.1%}, after {compressed.test.accuracy:.1%}")
print(f"synapses before {before:,}, after {after:,}")

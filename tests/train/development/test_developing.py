"""Development of whole models: every switch does what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import torch
from developing_runs import OFF, Run

from sdsnn.train.development import developer
from sdsnn.train.slayer.block_spikes import reset_state

# -- switches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
def test_with_every_mechanism_off_training_is_as_without_development(kind: str) -> None:
    run, plain = Run(kind, **OFF).go(8), Run(kind, develops=False).go(8)
    learned = dict(plain.model.named_parameters())
    assert all(torch.equal(value, learned[name]) for name, value in run.model.named_parameters())
    assert run.total("pruned") == run.total("regrown") == run.total("masked") == 0


def test_everything_happens_when_everything_is_on() -> None:
    run = Run(pruning_gain=5.0).go()
    assert run.total("pruned") > 0
    assert run.total("regrown") > 0


def test_without_the_constraint_no_weight_is_clipped() -> None:
    largest = []
    for constraint in (True, False):
        run = Run(**{**OFF, "constraint": constraint}).go(3)
        assert run.developer is not None
        synapse = run.developer.layers[0].synapses[0]
        with torch.no_grad():
            synapse.synapse.weight[0, 0] = 50.0
        run.optimiser.param_groups[0]["lr"] = 0.0
        run.go(4)
        largest.append(float(synapse.float_weight[0, 0]))
    assert largest[0] < 20
    assert largest[1] == 50.0


def test_a_trust_region_limits_what_a_weight_gains_in_an_epoch_and_grows_while_it_is_used_up() -> None:
    run = Run(**{**OFF, "constraint": True, "range_rule": "trust", "range_quantile": 0.5}).go(8)
    assert run.developer is not None
    synapse = run.developer.layers[0].synapses[0]
    gains = []
    for epoch in range(9, 16):
        before = synapse.float_weight.clone()
        with torch.no_grad():
            synapse.synapse.weight[0, 0] = 50.0
            synapse.synapse.weight[0, 1] = 0.0
        run.optimiser.param_groups[0]["lr"] = 0.0
        run.go(epoch)
        gains.append(float(synapse.float_weight[0, 0] - max(before[0, 0], 0)))
        assert synapse.float_weight[0, 1] == 0  # decay is free
    assert gains[0] < 20
    assert gains[-1] > gains[0]  # it contributes
    assert gains == sorted(gains)


def test_without_pruning_no_unit_goes_and_the_rate_rests() -> None:
    run = Run(pruning=False).go()
    assert run.total("pruned") == 0
    assert set(run.series("pruning_percent", 0)) == {2.0}


def test_without_regeneration_pruned_synapses_stay_masked() -> None:
    run = Run(regeneration=False, pruning_gain=5.0).go()
    assert run.total("pruned") > 0
    assert run.total("regrown") == 0
    for before, after in zip(run.masks, run.masks[1:], strict=False):
        assert all(not (new & ~old).any() for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("every", [1, 3])
def test_gradients_of_masked_weights_accumulate_in_one_batch_of_so_many(every: int) -> None:
    """The sum at the epoch's end is that of batches 0, `every`, 2 `every`, ...; the next epoch starts anew."""
    run = Run(**OFF, synapse_stage=True, synapse_begin=0.0, synapse_end=1.0, grow_score_every=every)
    run.go(2)
    assert run.developer is not None
    layer = run.developer.layers[1]
    assert not bool(layer.mask.all())
    for _ in range(2):
        accumulated = []
        for _ in range(5):
            before = layer.absent_gradient.clone()
            run.learn()
            run.developer.step()
            accumulated.append(bool((layer.absent_gradient != before).any()))
        assert accumulated == [batch % every == 0 for batch in range(5)]
        run.developer.epoch_end(run.optimiser)


def test_fixed_pruning_rate_grows_alike_in_every_layer_and_epoch() -> None:
    run = Run(adaptive_pruning_rate=False, fixed_pruning_rate=0.1).go()
    first = 3  # e0 = 2 T + 1; an epoch passes 18 paper epochs with T = 1
    for layer in (0, 1):
        percent = run.series("pruning_percent", layer)
        assert percent[:first] == [2.0] * first
        steps = [after - before for before, after in zip(percent[first - 1 :], percent[first:], strict=False)]
        assert steps == pytest.approx([1.8] * len(steps))
    adaptive = Run().go()
    assert adaptive.series("pruning_percent", 0)[-1] != adaptive.series("pruning_percent", 1)[-1]


def test_fixed_regeneration_rate_is_its_constant_and_the_adaptive_one_falls() -> None:
    fixed = Run(adaptive_regeneration_rate=False, fixed_regeneration_percent=7.0).go()
    assert set(fixed.series("regeneration_percent", 1)[3:]) == {7.0}
    falling = Run(persistence=3).go().series("regeneration_percent", 1)[7:]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > falling[-1]


def test_protection_is_the_default_and_can_be_taken_off() -> None:
    run = Run(protect_first=True)
    assert run.developer is not None
    assert [run.developer.develops(i) for i in range(3)] == [False, True, False]
    run = Run(protect_last=False)
    assert run.developer is not None
    assert all(run.developer.develops(i) for i in range(3))


# -- a user's own loop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
def test_micro_batches_score_masked_weights_as_one_batch_of_both(kind: str) -> None:
    """|g0 + g1| and not |g0| + |g1|, added to the scores of earlier batches."""

    def backward(run: Run, part: slice) -> None:
        reset_state(run.model)
        loss = torch.nn.functional.cross_entropy(run.model(run.x[part]).sum(-1), run.labels[part], reduction="sum")
        torch.autograd.backward(loss)

    scores, gradients = [], []
    for parts in ([slice(0, 6)], [slice(0, 3), slice(3, 6)]):
        run = Run(kind, **OFF, synapse_stage=True, synapse_begin=0.0, synapse_end=1.0).go(2)
        hooks = [synapse.hook for layer in run.developer.layers for synapse in layer.synapses]
        backward(run, slice(0, 2))  # an earlier batch
        run.optimiser.zero_grad()
        run.developer.step()
        before = [hook.absent_gradient.clone() for hook in hooks]
        with run.developer.accumulating() as sums:
            for part in parts:
                backward(run, part)
            assert any(bool((each < 0).any()) for each in sums)
        scores.append([hook.absent_gradient.clone() for hook in hooks])
        gradients.append([parameter.grad.clone() for parameter in run.model.parameters() if parameter.grad is not None])
        assert not any(hook.signed for hook in hooks)
        assert all(bool((score >= old).all()) for score, old in zip(scores[-1], before, strict=True))
        assert any(bool((score > old).any()) for score, old in zip(scores[-1], before, strict=True))
    for whole, cut in zip([*scores[0], *gradients[0]], [*scores[1], *gradients[1]], strict=True):
        torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))


def test_an_error_among_micro_batches_leaves_the_scores_as_they_were() -> None:
    run = Run(**OFF, synapse_stage=True, synapse_begin=0.0, synapse_end=1.0).go(2)
    run.learn()
    before = [layer.absent_gradient.clone() for layer in run.developer.layers]
    with pytest.raises(KeyboardInterrupt), run.developer.accumulating():
        raise KeyboardInterrupt
    assert all(torch.equal(layer.absent_gradient, old) for layer, old in zip(run.developer.layers, before, strict=True))
    assert not any(synapse.hook.signed for layer in run.developer.layers for synapse in layer.synapses)


def test_the_example_of_the_developer_runs() -> None:
    tests = doctest.DocTestFinder(recurse=False).find(developer.Developer, "Developer")
    assert len(tests) == 1
    assert doctest.DocTestRunner().run(tests[0]).failed == 0


def test_the_loop_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[3] / "docs" / "development.md"
    _, _, rest = page.read_text().partition("```python\n")
    exec(compile(rest.partition("```")[0], str(page), "exec"), {})
    share, _, text = capsys.readouterr().out.partition("%")
    assert 90 <= int(share) <= 100
    assert text == " of the synapses are absent\n"

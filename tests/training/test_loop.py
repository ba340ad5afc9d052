"""The loop against plain PyTorch: schedules, groups, steps, averages, errors."""

from __future__ import annotations

import copy
import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from train_once import train

from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.dataset import CompositionDataset, staged_batches
from modnet_lib.data.workers import data_loader
from modnet_lib.network import MODNet, load_checkpoint, save_checkpoint
from modnet_lib.objectives import paper_objective
from modnet_lib.profiles import DataConfig, Stage, TrainingConfig
from modnet_lib.training import loop
from modnet_lib.training.state import AveragedWeights, create_optimizer, learning_rate, load_state, save_state

AUGMENTED = DataConfig(framing="person", flip=0.5, colour=1.0, defocus=0.35)


class FixedDataset(CompositionDataset):
    """The same four samples in every batch."""

    def __getitem__(self, key):
        return super().__getitem__((key[0] % 4, key[1]))


@pytest.fixture
def dataset(make_sample) -> CompositionDataset:
    backgrounds = [lambda: make_sample(7).background, lambda: make_sample(8).background]
    return FixedDataset([lambda: make_sample(0), lambda: make_sample(1)], backgrounds, 0, AUGMENTED)


def config(steps: int = 3, **options) -> TrainingConfig:
    return TrainingConfig(stages=(Stage(64, 4, steps),), **options)


def rates(scheduler, optimizer, steps: int) -> list[float]:
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


def test_the_papers_schedule_is_a_tenth_after_every_quarter() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    expected = rates(torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20, 30], 0.1), optimizer, 40)
    ours = [learning_rate(config(40, learning_rate=0.01), step) for step in range(40)]
    assert ours == pytest.approx(expected, rel=1e-9)
    assert TrainingConfig().learning_rate == 0.01
    assert TrainingConfig().schedule == "step"


def test_cosine_schedule_warms_up_and_goes_to_zero() -> None:
    steps = 200
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    expected = rates(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), optimizer, steps)
    settings = config(steps, learning_rate=0.3, schedule="cosine")
    ours = [learning_rate(settings, step) for step in range(steps)]
    assert ours[:4] == pytest.approx([0.3 / 4, 0.3 / 2, 0.3 * 3 / 4, 0.3])  # two per cent
    assert ours[4:] == pytest.approx(expected[4:], abs=1e-9)
    assert ours[-1] < 0.3 * 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_parameter_groups(tiny_network, optimizer) -> None:
    settings = config(optimizer=optimizer, weight_decay=0.03, backbone_rate=0.25)
    result = create_optimizer(tiny_network, settings)
    assert type(result) is {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    groups = {id(p): group for group in result.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in result.param_groups) == len(list(tiny_network.parameters()))
    for module_name, module in tiny_network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            group = groups[id(parameter)]
            decays = name == "weight" and isinstance(module, (nn.Conv2d, nn.Linear))
            assert group["weight_decay"] == (0.03 if decays else 0.0), f"{module_name}.{name}"
            assert group["scale"] == (0.25 if ".backbone." in f".{module_name}." else 1.0)
            if optimizer == "sgd":
                assert group["momentum"] == 0.9


def test_three_steps_equal_a_plain_loop(tiny_network, dataset, tmp_path) -> None:
    reference = copy.deepcopy(tiny_network).train()
    settings = config(4, learning_rate=0.002, weight_decay=0.01, backbone_rate=0.5)
    history = train(tiny_network, dataset, settings, tmp_path, device="cpu", stop_after=3)

    inside = {id(p) for p in reference.semantic_branch.backbone.parameters()}
    momenta = [torch.zeros_like(p) for p in reference.parameters()]
    for raw, record, rate in zip(
        data_loader(dataset, staged_batches([(64, 4, 3)]), collate), history, (0.002, 0.0002, 0.00002), strict=True
    ):
        batch = assemble(raw)
        output = reference(batch.image)
        losses = paper_objective(output, batch)
        assert record["loss"] == pytest.approx(losses.total.item(), rel=1e-4)
        for name in ("semantic", "detail", "matte"):
            assert record[name] == pytest.approx(getattr(losses, name).item(), rel=1e-4)
        assert record["learning_rate"] == pytest.approx(rate)
        gradients = torch.autograd.grad(losses.total, list(reference.parameters()))
        with torch.no_grad():
            for p, g, m in zip(reference.parameters(), gradients, momenta, strict=True):
                m.mul_(0.9).add_(g + (0.01 * p if p.ndim > 1 else 0))
                p.sub_(rate * (0.5 if id(p) in inside else 1.0) * m)
    expected = reference.state_dict()
    for key, value in tiny_network.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-5, msg=key)
    assert not tiny_network.training


def test_gradients_are_clipped_together(tiny_network, dataset, tmp_path) -> None:
    before = [p.detach().clone() for p in tiny_network.parameters()]
    settings = config(1, learning_rate=1.0, gradient_clip=0.01)
    (record,) = train(tiny_network, dataset, settings, tmp_path, device="cpu")
    assert record["gradient_norm"] > 0.01  # it is the norm before the cut that tells how training goes
    moved = sum(float((p - b).square().sum()) for p, b in zip(tiny_network.parameters(), before, strict=True))
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3)


def test_a_small_batch_is_learnt(dataset, tmp_path, tiny_network) -> None:
    settings = config(30, optimizer="adamw", learning_rate=3e-3, schedule="cosine")
    history = train(tiny_network, dataset, settings, tmp_path, device="cpu")
    losses = [record["loss"] for record in history]
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])


def test_averaged_weights_equal_a_loop(tiny_network) -> None:
    averaged, expected = AveragedWeights(tiny_network, 0.7), {}
    for step in range(30):
        for value in tiny_network.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.randn_like(value))
            else:
                value.add_(1)
        averaged.update_parameters(tiny_network)
        decay = min(0.7, (1 + step) / (10 + step))
        for key, value in tiny_network.state_dict().items():
            if value.is_floating_point() and step:
                expected[key] = decay * expected[key] + (1 - decay) * value.double().numpy()
            else:
                expected[key] = value.double().numpy()
    for key, value in averaged.module.state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[key], rtol=1e-4, atol=1e-5, err_msg=key)
    assert not averaged.module.training
    assert not any(p.requires_grad for p in averaged.module.parameters())


def test_validation_sees_the_network_that_is_kept(tiny_network, dataset, tmp_path) -> None:
    seen = []

    def validate(network: MODNet, step: int) -> dict[str, float]:
        assert not network.training
        seen.append((step, copy.deepcopy(network.state_dict())))
        return {"validation_mad": step / 10}

    settings = config(5, ema=0.5, validate_every=2, learning_rate=0.001)
    history = train(tiny_network, dataset, settings, tmp_path, validate=validate, device="cpu")
    assert [step for step, _ in seen] == [2, 4, 5]
    assert [r.get("validation_mad") for r in history] == [None, 0.2, None, 0.4, 0.5]
    assert all(torch.equal(v, seen[-1][1][k]) for k, v in tiny_network.state_dict().items())
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert written == history


def test_a_loss_that_is_not_finite_names_its_step(tiny_network, dataset, tmp_path, monkeypatch) -> None:
    calls = []

    def objective(*given):
        calls.append(1)
        losses = paper_objective(*given)
        return losses._replace(total=losses.total * float("nan")) if len(calls) == 3 else losses

    monkeypatch.setitem(loop.OBJECTIVES, "paper", objective)
    with pytest.raises(FloatingPointError, match=r"step 3 \(samples 8 to 11 at 64 pixels\): the loss is nan"):
        train(tiny_network, dataset, config(5, learning_rate=0.001), tmp_path, device="cpu")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert all(p.isfinite().all() for p in tiny_network.parameters())  # the bad step was not taken


def test_runs_of_different_precision_follow_each_other_in_one_process(dataset, tmp_path) -> None:
    losses = {}
    for precision in ("no", "bf16", "no"):
        torch.manual_seed(0)
        network = MODNet(backbone="mobilenetv3_small_050")
        settings = config(1, mixed_precision=precision, channels_last=precision == "bf16")
        (record,) = train(network, dataset, settings, tmp_path / f"{len(losses)}", device="cpu")
        losses.setdefault(precision, []).append(record["loss"])
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert losses["bf16"][0] != losses["no"][0] == losses["no"][1]

    # the reference for bf16 is a plain autocast step: against float32 it is a matter of luck how far rounding goes
    torch.manual_seed(0)
    network = MODNet(backbone="mobilenetv3_small_050").train().to(memory_format=torch.channels_last)
    batch = assemble(collate([dataset[(number, 64)] for number in range(4)]))
    with torch.autocast("cpu", torch.bfloat16):
        output = network(batch.image.contiguous(memory_format=torch.channels_last))
    expected = paper_objective(output._make(part.float() for part in output), batch).total
    assert losses["bf16"][0] == pytest.approx(float(expected.detach()), rel=1e-6)


def test_a_collapsed_matte_stops_the_run(tiny_network, dataset, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop.Trainer, "window", 3)
    with torch.no_grad():
        for parameter in tiny_network.fusion_branch.parameters():
            parameter.zero_()
    with pytest.raises(FloatingPointError, match=r"step 3 \(samples 8 to 11 .*same everywhere for 3 steps"):
        train(tiny_network, dataset, config(9, learning_rate=0.0), tmp_path, device="cpu")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_only_steps_in_a_row_are_a_collapse(tiny_network, dataset, tmp_path) -> None:
    class Flickering(loop.Trainer):
        window = 2

        def update(self, *arguments):
            return super().update(*arguments) | {"spread": float(self.step % 2)}  # flat in every other step

    assert len(Flickering(tiny_network, dataset, config(5), tmp_path, device="cpu").run()) == 5


@pytest.mark.parametrize("change", [{"learning_rate": 0.02}, {"ema": 0.9}, {"gradient_clip": 1.0}])
def test_a_run_is_not_resumed_with_other_settings(tiny_network, dataset, tmp_path, change) -> None:
    train(tiny_network, dataset, config(2), tmp_path, stop_after=1, device="cpu")
    with pytest.raises(ValueError, match=r"belongs to another run: training"):
        train(tiny_network, dataset, config(2, **change), tmp_path, device="cpu")
    # how often files are written does not change the weights
    train(tiny_network, dataset, config(2, checkpoint_every=1, validate_every=1), tmp_path, device="cpu")


def test_a_damaged_state_is_named(tiny_network, dataset, tmp_path) -> None:
    train(tiny_network, dataset, config(2), tmp_path, stop_after=1, device="cpu")
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"state\.pt is damaged"):
        train(tiny_network, dataset, config(2), tmp_path, device="cpu")


def test_stopping_adds_no_validation(tiny_network, dataset, tmp_path) -> None:
    settings = config(4, validate_every=3)
    for stop in (2, None):
        history = train(
            tiny_network, dataset, settings, tmp_path, validate=lambda *_: {"seen": 1.0}, stop_after=stop, device="cpu"
        )
    assert [record.get("seen") for record in history] == [None, None, 1.0, 1.0]


@pytest.mark.slow  # compiles
def test_compiled_training_follows_the_plain_one(dataset, tmp_path) -> None:
    histories, states = {}, {}
    for compiled in (False, True):
        torch.manual_seed(5)
        network = MODNet(backbone="mobilenetv3_small_050")
        settings = config(3, learning_rate=1e-3, compile=compiled, ema=0.5)
        folder = tmp_path / str(compiled)
        histories[compiled] = train(network, dataset, settings, folder, device="cpu")
        states[compiled] = network.state_dict()
        assert set(torch.load(folder / "state.pt", weights_only=True)["network"]) == set(states[compiled])
    for plain, fast in zip(histories[False], histories[True], strict=True):
        assert fast["loss"] == pytest.approx(plain["loss"], rel=1e-3)
    for name, value in states[False].items():
        torch.testing.assert_close(states[True][name], value, rtol=1e-2, atol=2e-3, msg=name)


def test_loss_weights_decide_what_is_learnt(tiny_network, dataset, tmp_path) -> None:
    before = copy.deepcopy(tiny_network.state_dict())
    settings = config(2, learning_rate=1e-2, loss_weights=(0.0, 0.0, 1.0))
    history = train(tiny_network, dataset, settings, tmp_path, device="cpu")
    assert history[0]["loss"] == pytest.approx(history[0]["matte"])
    after = tiny_network.state_dict()
    for head in ("semantic_branch.head", "detail_branch.head"):  # nothing asks them
        assert torch.equal(before[f"{head}.weight"], after[f"{head}.weight"])
    assert not torch.equal(before["fusion_branch.head.weight"], after["fusion_branch.head.weight"])
    with pytest.raises(ValueError, match=r"loss_weights\.2\s+Field required"):
        config(2, loss_weights=(1.0, 1.0))


@pytest.mark.parametrize(
    "options", [{}, {"ema": 0.5}, {"channels_last": True}, pytest.param({"compile": True}, marks=pytest.mark.slow)]
)
def test_training_in_bf16_returns_a_plain_float32_network(dataset, tmp_path, options) -> None:
    torch.manual_seed(3)
    network = MODNet(backbone="mobilenetv3_small_050")
    seen = []

    def validate(kept: MODNet, step: int) -> dict[str, float]:
        plain = MODNet(**kept.config).eval()
        plain.load_state_dict(kept.state_dict())
        with torch.no_grad():
            seen.append(float((kept(image).alpha - plain(image).alpha).abs().max()))
        return {}

    image = torch.rand(1, 3, 64, 64)
    settings = config(2, optimizer="adamw", learning_rate=1e-3, mixed_precision="bf16", validate_every=1, **options)
    train(network, dataset, settings, tmp_path / "run", validate=validate, device="cpu", show_progress=False)
    assert "forward" not in vars(network)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    save_checkpoint(network, tmp_path / "modnet.safetensors")
    loaded = load_checkpoint(tmp_path / "modnet.safetensors")
    with torch.no_grad():
        for mine, theirs in zip(network(image, auxiliary=True), loaded(image, auxiliary=True), strict=True):
            assert torch.equal(mine, theirs)
    assert max(seen) < 1e-5  # validation is float32 as well; bf16 differs by 1e-3 and more


def test_runs_on_different_devices_follow_each_other(tiny_network, dataset, tmp_path) -> None:
    other = copy.deepcopy(tiny_network)
    with pytest.raises(RuntimeError, match="meta"):  # this device cannot say its numbers
        train(other, dataset, config(1, workers=0), tmp_path / "first", device="meta", show_progress=False)
    assert {p.device.type for p in other.parameters()} == {"meta"}
    train(tiny_network, dataset, config(1), tmp_path / "second", device="cpu", show_progress=False)
    assert {p.device.type for p in tiny_network.parameters()} == {"cpu"}


def test_synchronised_batch_norms_are_undone(tiny_network, dataset, tmp_path, monkeypatch) -> None:
    plain = {name: type(module) for name, module in tiny_network.named_modules()}
    monkeypatch.setattr(loop.Trainer, "wrapped", lambda self: nn.SyncBatchNorm.convert_sync_batchnorm(self.network))
    train(tiny_network, dataset, config(1), tmp_path, device="cpu")
    assert {name: type(module) for name, module in tiny_network.named_modules()} == plain
    saved = torch.load(tmp_path / "state.pt", weights_only=True)["network"]
    assert all(torch.equal(value, saved[name]) for name, value in tiny_network.state_dict().items())


def test_a_gradient_that_is_not_finite_changes_nothing(tiny_network, dataset, tmp_path, monkeypatch) -> None:
    def objective(output, *given):
        losses = paper_objective(output, *given)
        # 0 with an infinite slope: the loss is finite, its gradient is not
        return losses._replace(total=losses.total + (output.alpha * 0).sum().sqrt())

    monkeypatch.setitem(loop.OBJECTIVES, "paper", objective)
    before = copy.deepcopy([p.detach() for p in tiny_network.parameters()])
    with pytest.raises(FloatingPointError, match=r"step 1 .*norm of the gradient nan"):
        train(tiny_network, dataset, config(2), tmp_path, device="cpu", show_progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, tiny_network.parameters(), strict=True))


class Steep(torch.autograd.Function):
    """0, with an infinite gradient."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.new_zeros(())

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return torch.full_like(x, torch.inf)


def test_infinite_gradients_skip_a_step_in_fp16(tiny_network, dataset, tmp_path, monkeypatch) -> None:
    states, calls = [], []

    def objective(output, *given):
        losses = paper_objective(output, *given)
        states.append(copy.deepcopy(tiny_network.state_dict()))
        calls.append(1)
        return losses._replace(total=losses.total + Steep.apply(output.alpha)) if len(calls) == 2 else losses

    monkeypatch.setitem(loop.OBJECTIVES, "paper", objective)
    settings = config(3, learning_rate=1e-3, mixed_precision="fp16", freeze_norm=True)
    trainer = loop.Trainer(tiny_network, dataset, settings, tmp_path, device="cpu")
    scale = trainer.scaler.get_scale()
    history = trainer.run(show_progress=False)
    assert [math.isfinite(record["gradient_norm"]) for record in history] == [True, False, True]
    same = [all(torch.equal(a[key], b[key]) for key in a) for a, b in pairwise(states)]
    assert same == [False, True], "the first step changes weights, the second none"
    assert trainer.scaler.get_scale() == scale / 2


def test_a_step_reads_its_numbers_from_the_device_once(tiny_network, dataset, tmp_path, monkeypatch) -> None:
    """On a device without values, everything else that asks for one is an error."""
    asked = []

    def blind(numbers):
        asked.append(numbers.device.type)
        return np.full(len(numbers), 0.5)

    monkeypatch.setattr(loop, "read_out", blind)
    for optimizer in ("adamw", "sgd"):
        settings = config(3, optimizer=optimizer, ema=0.9, gradient_clip=1.0, accumulate=2, workers=0)
        asked.clear()
        trainer = loop.Trainer(tiny_network, dataset, settings, tmp_path / optimizer, device="meta")
        assert [record["loss"] for record in trainer.run(show_progress=False)] == [0.5] * 3
        assert asked == ["meta"] * 3


def test_a_resumed_optimizer_counts_where_nobody_waits(tmp_path) -> None:
    first = torch.optim.AdamW([nn.Parameter(torch.ones(3))])
    first.param_groups[0]["params"][0].grad = torch.ones(3)
    first.step()
    save_state(tmp_path / "state.pt", 1, {}, {"optimizer": first}, [])
    resumed = torch.optim.AdamW([nn.Parameter(torch.ones(3, device="meta"))])  # another device than the CPU
    assert load_state(tmp_path / "state.pt", {}, {"optimizer": resumed}, 0, torch.device("meta")) == 1
    (state,) = resumed.state.values()
    assert {key: value.device.type for key, value in state.items()} == {
        "step": "cpu", "exp_avg": "meta", "exp_avg_sq": "meta"
    }  # fmt: skip


def test_the_scaler_of_fp16_resumes_with_the_run(dataset, tmp_path) -> None:
    settings = config(2, learning_rate=1e-3, mixed_precision="fp16", checkpoint_every=1)

    def run(folder, **options):
        torch.manual_seed(3)
        network = MODNet(backbone="mobilenetv3_small_050")
        train(network, dataset, settings, folder, device="cpu", show_progress=False, **options)
        return network.state_dict(), torch.load(folder / "state.pt", weights_only=True)["scaler"]

    whole, scaler = run(tmp_path / "whole")
    _, halfway = run(tmp_path / "cut", stop_after=1)
    fresh = torch.amp.GradScaler("cpu").state_dict()
    assert halfway != fresh  # a run that forgot its scaler would continue with it
    resumed, again = run(tmp_path / "cut")
    assert again == scaler
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())

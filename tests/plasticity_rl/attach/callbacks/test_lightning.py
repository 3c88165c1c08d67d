"""Methods and metrics in Lightning's real Trainer, on a small network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

pytest.importorskip("lightning", reason="Lightning is an optional extra: pip install 'plasticity-rl[lightning]'")

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger

from plasticity_rl.attach import attach
from plasticity_rl.attach.callbacks.lightning import PlasticityCallback
from plasticity_rl.attach.chains import chain_of
from plasticity_rl.checks import UsageError
from tests.test_readme import shown

CHAIN = ("l2-init:strength=0.1", "nap", "redo:tau=0.6,every=3")
UPDATES = 8


class Kept(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.rows = {}

    def log_metrics(self, metrics, step=None):
        self.rows.setdefault(step, {}).update(metrics)


def made() -> nn.Module:
    torch.manual_seed(0)
    hidden = [layer for reads in (5, 6) for layer in (nn.Linear(reads, 6), nn.LayerNorm(6), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(6, 3))


class Classifier(LightningModule):
    def __init__(self, optimizers: int = 1) -> None:
        super().__init__()
        self.net, self.optimizers_made = made(), optimizers

    def training_step(self, batch, index):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return [torch.optim.Adam(self.net.parameters(), 0.02) for _ in range(self.optimizers_made)]


def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 5, generator=draw), torch.randint(3, (8,), generator=draw)) for _ in range(UPDATES)]


def fit(module: LightningModule, callback, logger=False, root=None, **how) -> Trainer:
    quiet = dict(enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", devices=1, use_distributed_sampler=False)
    trainer = Trainer(max_epochs=1, logger=logger, callbacks=[callback], enable_checkpointing=False, default_root_dir=root, **quiet, **how)
    trainer.fit(module, DataLoader(data(), batch_size=None))
    return trainer


# Lightning's own: few workers, no validation, deprecated calls of torch
pytestmark = pytest.mark.filterwarnings("default")


def test_methods_are_the_three_lines_in_a_loop(tmp_path):
    module, logger = Classifier(), Kept()
    callback = PlasticityCallback(*CHAIN, network="net", diagnose_every=4)
    fit(module, callback, logger, tmp_path)
    plain = made()
    optimizer = torch.optim.Adam(plain.parameters(), 0.02)
    plan = attach(plain, optimizer, chain_of(CHAIN), torch.randn(2, 5))
    for inputs, labels in data():
        optimizer.zero_grad()
        (F.cross_entropy(plain(inputs), labels) + plan.penalty()).backward()
        optimizer.step()
        plan.after_step()
    for one, two in zip(plain.parameters(), module.net.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert callback.session.updates == UPDATES and not module.net._forward_pre_hooks
    rows = {step: row for step, row in logger.rows.items() if any(name.startswith("plasticity/") for name in row)}
    assert set(rows) == {4, 8}
    last, weights = rows[8], [module.net[i].weight.detach() for i in (0, 3, 6)]
    assert last["plasticity/weight_norm"] == pytest.approx(float(torch.cat([each.flatten() for each in weights]).norm()))
    hidden = module.net[:3](data()[-1][0]).detach()
    share = hidden.abs().mean(0) / hidden.abs().mean()
    assert last["plasticity/dormant_fraction/0"] == pytest.approx(float((share <= 0.1).float().mean()))


def test_accumulated_gradients_make_one_update(tmp_path):
    callback = PlasticityCallback("redo:every=1", network="net", diagnose_every=1)
    logger = Kept()
    fit(Classifier(), callback, logger, tmp_path, accumulate_grad_batches=4)
    assert callback.session.updates == callback.session.plan.ticks["update"] == 2
    assert {step for step, row in logger.rows.items() if "plasticity/weight_norm" in row} == {1, 2}


def test_a_checkpoint_holds_the_methods(tmp_path):
    callback = PlasticityCallback(*CHAIN, network="net")
    trainer = fit(Classifier(), callback, root=tmp_path)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    again = PlasticityCallback(*CHAIN, network="net")
    module = Classifier()
    quiet = dict(enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", devices=1, use_distributed_sampler=False)
    other = Trainer(max_epochs=2, logger=False, callbacks=[again], enable_checkpointing=False, default_root_dir=tmp_path, **quiet)
    other.fit(module, DataLoader(data(), batch_size=None), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert again.session.updates == 2 * UPDATES == again.session.plan.ticks["update"]
    anchor = callback.session.plan.states[0]["0.weight"]  # L2 Init's
    assert torch.equal(again.session.plan.states[0]["0.weight"], anchor) and not torch.equal(module.net[0].weight, anchor)


def test_mistakes_are_said_in_a_line(tmp_path):
    with pytest.raises(UsageError, match="unknown network, a submodule, 'nett'; did you mean net"):
        fit(Classifier(), PlasticityCallback(network="nett"), root=tmp_path)
    two = Classifier(2)
    two.automatic_optimization = False
    with pytest.raises(UsageError, match="needs automatic optimization with one optimizer, not 2 or manual steps"):
        fit(two, PlasticityCallback(network="net"), root=tmp_path)


def test_the_lines_in_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, known = shown("docs/library.md")[3], {}
    assert "PlasticityCallback(" in code and "callbacks.lightning" in code
    exec(code, known)
    assert known["plasticity"].session.updates == 20

"""Methods and metrics in Hugging Face's real Trainer, on a small BERT of random weights."""

import pytest
import torch

pytest.importorskip(
    "transformers", reason="transformers takes 170 MB and is no part of the extra dev: pip install 'plasticity-rl[transformers]'"
)
pytest.importorskip("accelerate", reason="transformers' Trainer needs it: pip install 'plasticity-rl[transformers]'")

from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from plasticity_rl.attach.callbacks.transformers import PlasticityCallback
from plasticity_rl.checks import UsageError
from tests.test_readme import shown

pytestmark = pytest.mark.filterwarnings("default")  # transformers' own

SMALL = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=2)
LAYER = "bert.encoder.layer.0.intermediate.dense"
UPDATES = 8


def trained(folder, chain: tuple[str, ...], every: int):
    torch.manual_seed(0)
    model = BertForSequenceClassification(SMALL)
    draw = torch.Generator().manual_seed(1)
    data = [{"input_ids": torch.randint(50, (8,), generator=draw), "labels": torch.tensor(i % 2)} for i in range(32)]
    how = dict(max_steps=UPDATES, per_device_train_batch_size=4, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True, seed=0)
    trainer = Trainer(model, TrainingArguments(str(folder), logging_steps=1000, **how), train_dataset=data)
    callback = PlasticityCallback(trainer, *chain, diagnose_every=every)
    trainer.add_callback(callback)
    trainer.train()
    return model, trainer, callback


def test_metrics_stand_in_the_logs_and_units_are_the_activations(tmp_path):
    model, trainer, callback = trained(tmp_path, ("l2-init:strength=1e-3", "redo:every=3,tau=0.5"), 4)
    rows = [row for row in trainer.state.log_history if "plasticity/weight_norm" in row]
    assert [row["step"] for row in rows] == [4, 8] and callback.session.updates == UPDATES
    assert not callback.session.diagnosis.note
    named = dict(model.named_parameters())
    norms = [float(named[layer.weight].detach().norm()) for layer in callback.session.plan.layers]
    assert rows[-1]["plasticity/weight_norm"] == pytest.approx(sum(norm**2 for norm in norms) ** 0.5)
    heard = []
    model.eval()  # without dropout
    handle = model.bert.encoder.layer[0].intermediate.register_forward_hook(lambda m, args, out: heard.append(out))
    args, kwargs = callback.session.batch
    with torch.no_grad():
        model(*args, **kwargs)
    handle.remove()
    units = heard[0].reshape(-1, 32)
    share = units.abs().mean(0) / units.abs().mean()
    found = callback.session.diagnosis.measure(args, kwargs)
    assert found[f"dormant_fraction/{LAYER}"] == pytest.approx(float((share <= 0.1).float().mean()))
    assert f"weight_norm/{LAYER}" in callback.measured


def test_a_recycled_unit_of_a_feed_forward_layer_has_no_effect(tmp_path):
    """At a tau of 0.9, units below the mean are taken as dormant: some, and not all."""
    model, _, callback = trained(tmp_path, ("redo:every=8,tau=0.9",), 0)
    layer = model.bert.encoder.layer[0]
    silent = (layer.output.dense.weight == 0).all(0)
    assert 0 < silent.sum() < 32 and (layer.intermediate.dense.bias[silent] == 0).all()
    model.eval()
    args, kwargs = callback.session.batch
    with torch.no_grad():
        before = model(*args, **kwargs).logits
        layer.intermediate.dense.weight[silent] += 1
        assert torch.equal(model(*args, **kwargs).logits, before)
        layer.intermediate.dense.weight[~silent] += 1
        assert not torch.equal(model(*args, **kwargs).logits, before)


def test_new_weights_are_of_a_new_model(tmp_path):
    """transformers draws weights of a standard deviation of 0.02."""
    model, _, _ = trained(tmp_path, ("reset:part=network,clock=update,every=8",), 0)
    weights = torch.cat([param.detach().flatten() for name, param in model.named_parameters() if param.ndim > 1])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.1) and not model.classifier.bias.any()


def test_mistakes_are_said_in_a_line(tmp_path):
    with pytest.raises(UsageError, match="unknown method 'reedo'"):
        PlasticityCallback(None, "reedo")
    with pytest.raises(UsageError, match="NormalizeAndProject needs a norm before every activation"):
        trained(tmp_path, ("nap:norm=given,scale_and_offset=free",), 0)


def test_the_lines_in_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, known = shown("docs/library.md")[4], {}
    assert "PlasticityCallback(" in code and "callbacks.transformers" in code
    exec(code, known)
    rows = [row["step"] for row in known["trainer"].state.log_history if "plasticity/dormant_fraction" in row]
    assert rows == [8, 16]

"""Target attention in feature groups, for any model: against EasyRec's formula on padded histories."""

from __future__ import annotations

import numpy as np
import pytest
from models import histories
from models.histories import attention, padded, rows_of
from models.oracle import L2, Oracle, check_gradients, check_logits, check_penalties

_SCORES = "seq_dnn { hidden_units: [3, 1] }"
_GROUP = """feature_groups {{ group_name: "{}" wide_deep: DEEP feature_names: ["u", "i", "c"] {} }}"""
#: Histories and an auxiliary one; a key that is looked up for them alone; keys of other widths, by layers and without.
ONE = f"""sequence_features {{ group_name: "s" {_SCORES}
  seq_att_map {{ key: ["i", "c"] hist_seq: ["h", "k"] aux_hist_seq: "r" }} }}"""
SEARCHED = f"""sequence_features {{ group_name: "s" {_SCORES} allow_key_search: true need_key_feature: false
  seq_att_map {{ key: "i" hist_seq: "h" }} }}"""
FILLED = f"""sequence_features {{ group_name: "s" {_SCORES} allow_key_transform: true
  seq_att_map {{ key: "i" hist_seq: ["h", "k"] }} }}"""
LAYERS = FILLED.replace("allow_key_transform: true", "allow_key_transform: true transform_dnn: true").replace(
    '"s"', '"w"'
)


def _dcn(attention_groups: str, names: str = '["u", "i", "c"]') -> str:
    group = _GROUP.format("all", attention_groups).replace('["u", "i", "c"]', names)
    return f"""model_class: "DCN" {group}
      dcn {{ deep_tower {{ input: "all" dnn {{ hidden_units: [4] use_bn: false }} }}
      cross_tower {{ input: "all" cross_num: 1 }} final_dnn {{ hidden_units: [4] use_bn: false }}
      l2_regularization: {L2} }}"""


def _embedded(oracle: Oracle, names: list[str], scope: str = "input_layer") -> list[np.ndarray]:
    return [rows_of(oracle, n, f"{scope}/{n}_embedding") for n in names]


def _attended(
    oracle: Oracle, name: str, query: np.ndarray, h: np.ndarray, *more: np.ndarray
) -> list[np.ndarray]:
    shares = attention(oracle, f"seq_dnn{name}", 2, query, h)
    return [np.einsum("bt,btd->bd", shares, each) for each in (h, *more)]


def _history(oracle: Oracle, *names: str, counted: bool = True) -> np.ndarray:
    tables = [f"all/{n}_bucketized_embedding" if n == "r" else f"all/{n}_embedding" for n in names]
    return padded(oracle, names, tables, counted)


def _one(oracle: Oracle, features: list[np.ndarray]) -> list[np.ndarray]:
    query = np.concatenate(features[1:], axis=1)
    # EasyRec leaves auxiliary histories out of the penalty.
    auxiliary = _history(oracle, "r", counted=False)
    return [*_attended(oracle, "s", query, _history(oracle, "h", "k"), auxiliary), query]


def _searched(oracle: Oracle, _: list[np.ndarray]) -> list[np.ndarray]:
    return _attended(oracle, "s", *_embedded(oracle, ["i"], "all"), _history(oracle, "h"))


def _filled(oracle: Oracle, features: list[np.ndarray]) -> list[np.ndarray]:
    query = np.pad(features[1], [(0, 0), (0, 4)])
    return [*_attended(oracle, "s", query, _history(oracle, "h", "k")), query]


def _layers(oracle: Oracle, features: list[np.ndarray]) -> list[np.ndarray]:
    query = oracle.dense("sequence_key_transform_layer_seq_dnnw", features[1])
    history = oracle.dense("sequence_fea_transform_layer_seq_dnnw", _history(oracle, "h", "k"))
    return [*_attended(oracle, "w", query, history), query]


CASES = {
    "one": (_dcn(ONE), ["u", "i", "c"], [_one]),
    "searched": (_dcn(SEARCHED, '["u", "c"]'), ["u", "c"], [_searched]),
    "filled": (_dcn(FILLED), ["u", "i", "c"], [_filled]),
    "several": (_dcn(FILLED + LAYERS), ["u", "i", "c"], [_filled, _layers]),
}


#: A sequence of two levels, whose empty cell has no elements, and one of one level, in two groups.
COMBINED = f"""model_class: "MultiTower"
  feature_groups {{ group_name: "a" wide_deep: DEEP feature_names: ["t", "u"] }}
  feature_groups {{ group_name: "b" wide_deep: DEEP feature_names: ["i", "t"] }}
  multi_tower {{ towers {{ input: "a" dnn {{ hidden_units: [3] }} }} towers {{ input: "b" dnn {{ hidden_units: [3] }} }}
    final_dnn {{ hidden_units: [4] }} l2_regularization: {L2} }}"""


def _histories(oracle: Oracle, scope: str) -> list[np.ndarray]:
    """The history t of each row, whose elements are means, [elements, D]."""
    table = oracle.get(f"{scope}/embedding_weights")
    found = []
    for cell in (row[7] for row in histories.ROWS):
        elements = [[histories.hashed("t", v) for v in part.split(";") if v] for part in cell.split("|")]
        while elements and not elements[-1]:
            elements.pop()
        h = [table[ids].mean(axis=0) if ids else np.zeros(table.shape[1]) for ids in elements]
        found.append(np.reshape(h, [-1, table.shape[1]]))
    return found


def _attention_pooling(oracle: Oracle, scope: str, _: int) -> np.ndarray:
    kernel = oracle.get(f"{scope}/attention/kernel")
    rows = _histories(oracle, scope)
    vectors = np.stack([histories.softmax((h @ kernel)[:, 0]) @ h if len(h) else h.sum(axis=0) for h in rows])
    return _penalised(oracle, rows, vectors)


def _text_cnn(oracle: Oracle, scope: str, group: int) -> np.ndarray:
    """Two convolutions over histories of three places."""
    rows = _histories(oracle, scope)
    x = np.stack([np.pad(h, [(0, 3 - len(h)), (0, 0)]) for h in rows])
    found = []
    for i, size in enumerate((1, 2)):
        name = f"{scope}/t_embedding_text_cnn/conv1d{f'_{2 * group + i}' if group + i else ''}"
        kernel = oracle.get(f"{name}/kernel")
        windows = np.stack([x[:, p : p + size] for p in range(4 - size)], axis=1)
        convolved = np.einsum("bpsd,sdf->bpf", windows, kernel) + oracle.get(f"{name}/bias")
        found.append(np.maximum(convolved, 0.0).max(axis=1))
    return _penalised(oracle, rows, np.concatenate(found, axis=1))


def _penalised(oracle: Oracle, rows: list[np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """EasyRec's penalty includes the elements and the attention's output."""
    oracle.squared += float(np.sum(vectors**2) + sum(np.sum(h**2) for h in rows))
    return vectors


COMBINERS = {
    "attention {}": (_attention_pooling, {"t_embedding/attention", "t_embedding_1/attention"}, set()),
    "text_cnn { filter_sizes: [1, 2] num_filters: [3, 2] pad_sequence_length: 3 }": (
        *(_text_cnn, set()),
        # Above 0 everywhere, so that it moves all rows alike.
        {"t_embedding_1/t_embedding_text_cnn/conv1d_3/bias"},
    ),
}


@pytest.mark.parametrize("combiner", COMBINERS)
def test_sequence_combiner(combiner: str) -> None:
    combine, kernels, cancelled = COMBINERS[combiner]

    def formula(oracle: Oracle) -> np.ndarray:
        parts = {"a": ("u", "input_layer", "t_embedding"), "b": ("i", "input_layer_1", "t_embedding_1")}
        towers = []
        for i, (group, (name, scope, own)) in enumerate(parts.items()):
            x = np.concatenate([*_embedded(oracle, [name], scope), combine(oracle, own, i)], axis=1)
            towers.append(oracle.dnn(f"{group}_dnn", oracle.batch_norm(f"{group}_fea_bn", x), 1, norm=True))
        return oracle.dense("output", oracle.dnn("final_dnn", np.concatenate(towers, axis=1), 1, norm=True))

    built = histories.build(COMBINED, f"sequence_combiner {{ {combiner} }}")
    check_logits(built, formula)
    check_gradients(built, {"a_fea_bn/beta", "b_fea_bn/beta", *cancelled})
    check_penalties(built, formula, {"a_dnn/dnn_0", "b_dnn/dnn_0", "final_dnn/dnn_0", *kernels})
    np.testing.assert_allclose(built.served()["probs"], built.predicted()["probs"], rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    model, names, groups = CASES[case]

    def formula(oracle: Oracle) -> np.ndarray:
        features = _embedded(oracle, names)
        attended = [part for group in groups for part in group(oracle, features)]
        x = np.concatenate([*features, *attended], axis=1)
        w, b = oracle.get("cross_layer_0_w"), oracle.get("cross_layer_0_b")
        crossed = x * (x @ w.reshape(-1, 1)) + b + x
        both = np.concatenate([oracle.dnn("dnn", x, 1), crossed], axis=1)
        return oracle.dense("output", oracle.dnn("final_dnn", both, 1))

    built = histories.build(model)
    check_logits(built, formula)
    check_gradients(built, {f"seq_dnn{name}/dnn_1/bias" for name in "sw"})
    scores = [
        n.removesuffix("/kernel")
        for n in built.dense_names
        if n.startswith("seq_dnn") and n.endswith("kernel")
    ]
    check_penalties(built, formula, {"dnn/dnn_0", "final_dnn/dnn_0", *scores})
    np.testing.assert_allclose(built.served()["probs"], built.predicted()["probs"], rtol=1e-5)


OTHERS = {
    "DeepFM": """feature_groups { group_name: "wide" wide_deep: WIDE feature_names: "u" } %DEEP
      deepfm { dnn { hidden_units: [4] } final_dnn { hidden_units: [4] } wide_output_dim: 2 }""",
    "DLRM": """%SPARSE feature_groups { group_name: "dense" wide_deep: DEEP feature_names: "u" }
      dlrm { bot_dnn { hidden_units: [4] } top_dnn { hidden_units: [4] } }""",
    "AutoInt": "%ALL autoint { multi_head_num: 2 multi_head_size: 3 interacting_layer_num: 1 }",
    "MultiTower": "%ALL multi_tower { towers { input: 'all' dnn { hidden_units: [4] } } final_dnn { hidden_units: [4] } }",
    "DBMTL": "%ALL dbmtl { task_towers { tower_name: 'a' label_name: 'label' dnn { hidden_units: [4] } } }",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_see_it_too(name: str) -> None:
    """As one feature more, or with its key as two; a change of the history changes the output."""
    kept = "true" if name == "AutoInt" else "false"
    groups = {
        f"%{g.upper()}": _GROUP.format(
            g, SEARCHED.replace("need_key_feature: false", f"need_key_feature: {kept}")
        )
        for g in ("all", "deep", "sparse")
    }
    model = f'model_class: "{name}" {OTHERS[name]}'
    for mark, group in groups.items():
        model = model.replace(mark, group)
    built = histories.build(model)
    before = {n: t for n, t in built.predicted().items() if n.startswith("probs")}
    served = built.served()
    for key, values in before.items():
        np.testing.assert_allclose(served[key], values, rtol=1e-5)
    check_gradients(built, {"seq_dnns/dnn_1/bias", "all_fea_bn/beta"})

"""New names for old, and the versions of modules under them. No file, no torch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_viewer.core.value import Mapping
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import AUTO
from ckpt_viewer.export.naming import Naming, above, parse_rule, plan_naming, unused_rules
from ckpt_viewer.export.new_metadata import new_metadata

WORDS = st.sampled_from(["module", "model", "_orig_mod", "layer", "0", "weight", "a", "b*", ""])
NAMES = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(".".join), min_size=1, max_size=8, unique=True)


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("a.weight=b.weight", "a.weight", "b.weight"),
        ("a.weight=b.weight", "a.weight2", "a.weight2"),
        ("backbone=encoder", "backbone.conv.weight", "encoder.conv.weight"),
        ("backbone=encoder", "backbone", "encoder"),
        ("backbone=encoder", "backbone2.weight", "backbone2.weight"),
        ("backbone=encoder", "my.backbone.weight", "my.backbone.weight"),
        ("backbone.=encoder.", "backbone.conv.weight", "encoder.conv.weight"),
        ("backbone=encoder.", "backbone.conv.weight", "encoder.conv.weight"),
        ("backbone=", "backbone.conv.weight", "conv.weight"),
        ("backbone=", "backbone", "backbone"),
        ("layers.*.attn=blocks.*.attention", "layers.11.attn.q.weight", "blocks.11.attention.q.weight"),
        ("layers.*.attn=blocks.*.attention", "layers.11.attnx.q", "layers.11.attnx.q"),
        ("layers.*.attn=blocks.*.attention", "layers.11.attnx.attn.q", "blocks.11.attnx.attention.q"),
        ("*.gamma=*.weight", "encoder.norm.gamma", "encoder.norm.weight"),
        ("encoder.*=*", "encoder.layer.0.weight", "layer.0.weight"),
        ("*=net.*", "conv.weight", "net.conv.weight"),
        ("l*r.*=x*", "layer.0.weight", "xaye.weight"),
        ("a.*.b=c", "a.0.b.weight", "c.weight"),
        ("a[0]=b", "a[0].weight", "b.weight"),
    ],
)
def test_a_rule(rule, old, new):
    assert parse_rule(*rule.split("=")).apply(old) == new


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [("", "x", "needs a name before its '='"), (".", "x", "needs a name"), ("a", "b.*", "more * behind its '='")],
)
def test_a_rule_that_says_nothing(old, new, sentence):
    with pytest.raises(CannotExport, match=sentence.replace("*", r"\*")):
        parse_rule(old, new)


def test_rules_are_applied_in_their_order():
    naming = plan_naming(["a.w", "b.w"], None, [("a", "b"), ("b", "c")])
    assert [naming.name(name) for name in ("a.w", "b.w")] == ["c.w", "c.w"]
    naming = plan_naming(["a.w", "b.w"], None, [("b", "c"), ("a", "b")])
    assert [naming.name(name) for name in ("a.w", "b.w")] == ["b.w", "c.w"]


def test_rules_see_what_is_left_of_a_prefix():
    naming = plan_naming(["module.a.w"], AUTO, [("a", "b"), ("module.a", "c"), ("b.x", "d")])
    assert naming.name("module.a.w") == "b.w"
    assert [rule.old for rule in unused_rules(naming, ["module.a.w"])] == ["module.a", "b.x"]


@pytest.mark.parametrize(
    ("names", "new"),
    [
        (["module.a.w", "module.b"], ["a.w", "b"]),
        (["module.module.a", "module.module.b"], ["a", "b"]),
        (["module.a.w", "b"], ["module.a.w", "b"]),
        (["_orig_mod.a", "_orig_mod.b"], ["a", "b"]),
        (["module._orig_mod.module.a", "module._orig_mod.module.b"], ["a", "b"]),
        (["head.w", "layer._orig_mod.w"], ["head.w", "layer.w"]),
        (["_fsdp_wrapped_module.a._checkpoint_wrapped_module.w"], ["a.w"]),
        (["n_averaged", "module.a"], ["n_averaged", "a"]),
        (["module.", "module.a"], ["module.", "module.a"]),
        (["module"], ["module"]),
        (["_orig_mod"], ["_orig_mod"]),
        (["model.a", "model.b"], ["model.a", "model.b"]),
        (["modules.a"], ["modules.a"]),
    ],
)
def test_what_wrappers_put_before_names(names, new):
    naming = plan_naming(names, AUTO, [])
    assert [naming.name(name) for name in names] == new


def test_lightning_puts_its_own_prefix():
    naming = plan_naming(["model._orig_mod.a", "model.b"], AUTO, [], lightning=True)
    assert [naming.name(name) for name in ("model._orig_mod.a", "model.b")] == ["a", "b"]
    assert plan_naming(["model.a", "loss.b"], AUTO, [], lightning=True).prefix == ""


@pytest.mark.parametrize("given_prefix", ["model", "model."])
def test_a_given_prefix_is_taken_off_where_it_is(given_prefix):
    naming = plan_naming([], given_prefix, [])
    assert [naming.name(name) for name in ("model.a", "models.a", "b", "model")] == ["a", "models.a", "b", "model"]


@given(
    NAMES, st.sampled_from([None, AUTO, "model", "a.b"]), st.lists(st.tuples(WORDS, WORDS), max_size=3), st.booleans()
)
def test_no_name_becomes_empty_and_prefixes_only_shorten(names, prefix, rules, lightning):
    try:
        naming = plan_naming(names, prefix, rules, lightning=lightning)
    except CannotExport:
        return
    for name in names:
        assert naming.name(name) or not name
        if not rules:
            assert set(naming.name(name).split(".")) <= set(name.split("."))


@given(NAMES, st.booleans())
def test_what_all_names_begin_with_parts_no_two_of_them(names, lightning):
    plain = [name for name in names if "_orig_mod" not in name]
    naming = plan_naming(plain, AUTO, [], lightning=lightning)
    assert len({naming.name(name) for name in plain}) == len(plain)


# --- versions of modules ----------------------------------------------------------------------------------------------


def versions(**modules):
    made = Mapping("collections.OrderedDict")
    for name, version in modules.items():
        stated = Mapping()
        stated.pairs += ("version", version)
        made.pairs += (name.replace("__", "."), stated)
    return made


def read(metadata):
    return {name: stated.get("version") for name, stated in metadata.string_items().items()}


def test_nothing_changes_nothing():
    metadata = versions(a=1)
    assert new_metadata(metadata, ["a.w"], ["a.w"], Naming()) is metadata
    assert new_metadata(None, ["a.w"], [], Naming()) is None


def test_versions_follow_the_names():
    metadata = versions(module=2, module__bn=3, module__relu=4, module__bn__act=5)
    metadata.pairs[:0] = ["", versions(version=9)]
    names = ["module.bn.weight", "module.fc.weight"]
    naming = plan_naming(names, AUTO, [("bn", "norm")])
    assert read(new_metadata(metadata, names, names, naming)) == {"": 2, "norm": 3, "relu": 4, "norm.act": 5}


def test_versions_go_with_the_entries():
    metadata = versions(a=1, a__act=2, b=3, b__act=4, act=5)
    names = ["a.w", "b.w"]
    assert read(new_metadata(metadata, names, ["b.w"], Naming())) == {"b": 3, "b.act": 4, "act": 5}


def test_every_module_of_a_name():
    assert above(["a.b.w", "c", "a.x"]) == {"", "a", "a.b"}

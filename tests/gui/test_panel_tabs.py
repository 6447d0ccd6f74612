"""Tabs, header, storage, contents and value panels in one window."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from made_tensors import made_from
from panel_samples import Changed, at, facts_of, floats, shared_pair
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QTabWidget, QToolButton
from tree_samples import mapping_of, state_dict

from ckpt_viewer.core.checkpoint import GlobalUse
from ckpt_viewer.core.tensor import StorageSpec
from ckpt_viewer.core.value import Global, Instance
from ckpt_viewer.gui.panels import DetailTabs
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.contents import MOST_ENTRIES
from ckpt_viewer.gui.panels.header import Breadcrumb
from ckpt_viewer.gui.panels.histogram import HistogramPanel
from ckpt_viewer.gui.panels.registry import PANELS
from ckpt_viewer.gui.tree import build_index


def titles(details):
    tabs = details.tabs.tabs
    return [tabs.tabText(index) for index in range(tabs.count())]


def everything():
    call = Instance(Global("posix", "system"), ("true",))
    return mapping_of({
        "model": state_dict("layer1.0.weight", "layer1.1.weight", "head"), "tensor": floats(1, 2), "number": 3,
        "list": [1, 2], "object": call, "storage": StorageSpec("9", "cpu", "float32", 4, None), "none": None,
    })  # fmt: skip


def test_every_panel_rates_within_bounds_and_has_a_title(open_details):
    details = open_details(everything())
    subjects = [*details.checkpoint.root.children, details.checkpoint.root]
    index = details.session.index
    subjects.append(index.subject(index.find("/model/layer1."), details.checkpoint))
    for subject in subjects:
        rates = [kind.rate(subject) for kind in PANELS]
        assert all(UNSUPPORTED <= rate <= BEST for rate in rates)
        assert max(rates) > UNSUPPORTED
        shown = [kind.title for kind, rate in zip(PANELS, rates, strict=True) if rate > UNSUPPORTED]
        assert len(set(shown)) == len(shown)  # what is called Storage is one panel for tensors, another for the rest


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/tensor", ["Histogram", "Values", "Storage"]),
        ("/number", ["Value"]),
        ("/none", ["Value"]),
        ("/list", ["Contents"]),
        ("/model", ["Contents", "Breakdown", "Histogram", "Storage"]),
        ("/object", ["Value", "Contents"]),
        ("/storage", ["Storage"]),
    ],
)
def test_only_panels_that_fit_are_tabs(open_details, pointer, expected):
    details = open_details(everything())
    details.select(pointer)
    assert titles(details) == expected
    assert details.tabs.tabs.currentIndex() == 0


def test_the_tab_widget_is_found_by_its_name(open_details):
    details = open_details(everything())
    assert details.tabs.findChild(QTabWidget, "detailTabs") is details.tabs.tabs
    assert details.tabs.tabs.accessibleName()


def test_panels_are_built_on_first_use(open_details):
    details = open_details(everything())
    details.select("/tensor")
    built = {host.kind.title for host in details.tabs._hosts.values() if host.panel is not None}
    assert built == {"Overview", "Histogram"}
    details.select("/tensor", "Storage")
    built = {host.kind.title for host in details.tabs._hosts.values() if host.panel is not None}
    assert built == {"Overview", "Histogram", "Storage"}


def test_the_panel_that_is_wanted_soon_is_built_and_painted_before_it_is_asked_for(qtbot, open_details, monkeypatch):
    painted = []
    monkeypatch.setattr(HistogramPanel, "grab", lambda panel: painted.append(panel))
    details = open_details(everything())
    assert not details.tabs.is_prepared
    details.tabs.prepare()
    details.tabs.prepare()
    qtbot.waitUntil(lambda: details.tabs.is_prepared)
    panel = details.tabs._hosts[HistogramPanel].panel
    assert painted == [panel]
    plot = panel._plot
    assert plot is not None
    assert details.tabs.panel.title == "Overview"
    details.select("/tensor")
    assert details.tabs.panel is panel
    assert panel._plot is plot
    assert plot.widget.isVisible()
    assert panel.status.text() == "exact"


def test_a_panel_that_shows_something_already_is_not_painted_beside_it(qtbot, open_details, monkeypatch):
    monkeypatch.setattr(HistogramPanel, "grab", lambda panel: pytest.fail("it is on the screen"))
    details = open_details(everything())
    details.select("/tensor")
    details.tabs.prepare()
    qtbot.waitUntil(lambda: details.tabs.is_prepared)


def test_a_selection_made_before_the_panels_are_there_is_shown_once_they_are(qtbot, open_details, monkeypatch):
    details = open_details(everything())
    monkeypatch.setattr("ckpt_viewer.gui.panels.tabs.REGISTRY", "not.imported.yet")
    late = DetailTabs(details.session)
    qtbot.addWidget(late)
    late.show_node(details.checkpoint["/tensor"])
    late.show_node(details.checkpoint["/number"])
    assert not late.is_settled
    qtbot.waitUntil(lambda: late.is_settled and late.tabs.count() == 1)
    assert late.panel.title == "Value"


def test_panels_are_asked_for_again_if_a_new_file_cancelled_that(qtbot, open_details, monkeypatch):
    details = open_details(everything())
    monkeypatch.setattr("ckpt_viewer.gui.panels.tabs.REGISTRY", "not.imported.yet")
    late = DetailTabs(details.session)
    qtbot.addWidget(late)
    late.show_node(details.checkpoint["/tensor"])
    details.session.jobs.cancel_all()
    qtbot.waitUntil(lambda: not details.session.jobs.active)
    late.show_node(details.checkpoint["/number"])
    qtbot.waitUntil(lambda: late.tabs.count() == 1)


def test_the_chosen_tab_stays_where_it_fits(open_details):
    details = open_details(everything())
    details.select("/tensor", "Values")
    details.select("/number")
    assert details.tabs.panel.title == "Value"
    details.select("/tensor")
    assert details.tabs.panel.title == "Values"
    details.tabs.choose(9)
    assert details.tabs.panel.title == "Values"


def test_nothing_selected_shows_nothing_and_reads_nothing(open_details):
    details = open_details(everything())
    details.select("/tensor", wait=False)
    details.tabs.show_node(None)
    assert details.tabs.tabs.count() == 0
    assert not details.tabs.header.isVisible()
    details.wait()
    details.select("/tensor")
    assert titles(details) == ["Histogram", "Values", "Storage"]


def test_a_panel_that_is_left_while_it_reads_is_cancelled(qtbot, open_details, monkeypatch):
    entered, gate = threading.Event(), threading.Event()

    def held(target, wish, known, context):
        entered.set()
        gate.wait(10)
        context.step(0, 0)

    monkeypatch.setattr("ckpt_viewer.gui.panels.counting.first_look", held)
    details = open_details(everything())
    details.select("/tensor", wait=False)
    qtbot.waitUntil(entered.is_set)
    job = details.tabs.panel.flow._look.job
    details.tabs.choose(2)
    assert job.is_cancelled
    gate.set()
    details.wait()
    assert details.tabs.panel.title == "Values"


def test_crumbs_lead_to_what_they_name(qtbot, open_details):
    details = open_details(everything())
    details.select("/model/layer1.0.weight")
    breadcrumb = details.tabs.header.breadcrumb
    assert breadcrumb.texts == ["/", "model", "layer1", "0", "weight"]
    buttons = [child for child in breadcrumb.findChildren(QToolButton) if child.isVisible()]
    buttons[1].click()
    assert details.session.selected.pointer == "/model"
    details.select("/model/layer1.0.weight")
    buttons = [child for child in breadcrumb.findChildren(QToolButton) if child.isVisible()]
    buttons[2].click()
    assert details.session.selected.prefix == "layer1"
    details.wait()
    assert titles(details) == ["Contents", "Breakdown", "Histogram", "Storage"]
    assert facts_of(details.tabs.panel.table)["tensors"] == "2"
    buttons = [child for child in breadcrumb.findChildren(QToolButton) if child.isVisible()]
    buttons[0].click()
    assert details.session.selected.pointer == ""


def test_crumbs_that_do_not_fit_are_in_a_menu(qtbot):
    chosen = []
    breadcrumb = Breadcrumb(chosen.append)
    qtbot.addWidget(breadcrumb)
    from ckpt_viewer.gui.panels.crumbs import Crumb

    breadcrumb.resize(300, 30)
    breadcrumb.show()
    breadcrumb.show_crumbs(
        [Crumb(f"step {number} " + "x" * 1000, lambda number=number: number) for number in range(500)]
    )
    shown = [child for child in breadcrumb.findChildren(QToolButton) if child.isVisible()]
    assert all(child.geometry().right() < 300 for child in shown)
    assert len(breadcrumb.hidden) >= 497
    breadcrumb._fill_menu()
    actions = breadcrumb._more.menu().actions()
    assert len(actions) == 200
    actions[-1].trigger()
    assert chosen == [498]
    breadcrumb.show_crumbs([Crumb("a", lambda: "a")])
    assert breadcrumb.hidden == []
    breadcrumb.close()


def test_markup_in_names_is_text(open_details):
    name = "<b>&x</b>\u202e\n"
    details = open_details(mapping_of({name: floats(1)}))
    details.select("/" + name.replace("/", "~1"))
    button = [child for child in details.tabs.header.breadcrumb.findChildren(QToolButton) if child.isVisible()][-1]
    assert button.text() == "<b>&&x</b>\\u202e\\n"
    assert "<b>" not in button.toolTip()
    assert details.tabs.header.facts.textFormat() == Qt.TextFormat.PlainText


def test_the_path_is_copied(qtbot, open_details):
    details = open_details(everything())
    details.select("/model/layer1.0.weight")
    QGuiApplication.clipboard().clear()
    details.tabs.header.copy.click()
    qtbot.waitUntil(lambda: QGuiApplication.clipboard().text() == "/model/layer1.0.weight")


def test_facts_follow_the_map_location(open_details):
    details = open_details(mapping_of({"model": state_dict("a.w", "b.w")}))
    details.select("/model/a.w")
    assert "cuda:1" in details.tabs.header.facts.text()
    assert "→" not in details.tabs.header.facts.text()
    details.session.set_map_location("cpu")
    assert "cuda:1 → cpu" in details.tabs.header.facts.text()
    panel = details.select("/model/a.w", "Storage")
    assert facts_of(panel.table)["device"] == "cuda:1 → cpu"
    details.session.set_map_location(None)
    assert facts_of(panel.table)["device"] == "cuda:1"
    panel = details.select("/model", "Contents")
    assert facts_of(panel.table)["devices"] == "cuda:1"
    details.session.set_map_location({"cuda:1": "cuda:0"})
    details.wait()
    assert facts_of(panel.table)["devices"] == "cuda:1 → cuda:0"


def test_entries_that_share_a_storage_are_links(qtbot, open_details):
    details = open_details(shared_pair())
    panel = details.select("/model/b.part", "Storage")
    assert panel.heading.text() == "Shared with 2 other entries:"
    model = panel.links.model()
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == [
        "/model/a.weight   3 × 4", "/model/b.weight   3 × 4",
    ]  # fmt: skip
    assert "shared with 2 other entries" in details.tabs.header.facts.text()
    with qtbot.waitSignal(details.session.selectionChanged):
        panel.links.follow(model.index(1, 0))
    assert details.session.selected.pointer == "/model/b.weight"
    details.select("/model/c")
    assert panel.heading.text() == "No other entry shares the storage."
    assert facts_of(panel.table)["in the file"] == "from byte 0 of memory"


def test_sharing_is_worked_out_once_for_a_checkpoint(open_details, monkeypatch):
    calls = []
    from ckpt_viewer.gui.panels import shared

    real = shared.find_sharing
    monkeypatch.setattr(shared, "find_sharing", lambda *args: calls.append(1) or real(*args))
    details = open_details(shared_pair())
    for pointer in ("/model/a.weight", "/model/c", "/model/b.part"):
        details.select(pointer, "Storage")
    assert calls == [1]


def test_the_models_of_facts_and_links_are_proper(qtmodeltester, open_details):
    details = open_details(shared_pair())
    panel = details.select("/model/a.weight", "Storage")
    qtmodeltester.check(panel.links.model(), force_py=True)


def test_the_model_of_facts_is_proper(qtmodeltester, open_details):
    details = open_details(shared_pair())
    panel = details.select("/model/a.weight", "Storage")
    qtmodeltester.check(panel.table.model(), force_py=True)
    details.select("/model/b.part")


def test_the_model_of_entries_is_proper(qtmodeltester, open_details):
    details = open_details(everything())
    panel = details.select("/model")
    qtmodeltester.check(panel.entries.model(), force_py=True)
    details.select("/list")


def test_contents_list_the_first_entries_as_links(qtbot, open_details):
    root = mapping_of({f"key{number}": number for number in range(500)})
    details = open_details(mapping_of({"many": root}))
    panel = details.select("/many")
    model = panel.entries.model()
    assert model.rowCount() == MOST_ENTRIES
    assert panel.heading.text() == "Entries: the first 200 of 500; the tree has all"
    assert model.index(7, 0).data() == "key7   7"
    with qtbot.waitSignal(details.session.selectionChanged):
        panel.entries.follow(model.index(7, 0))
    assert details.session.selected.pointer == "/many/key7"


def test_contents_follow_the_tree_when_its_rows_change(open_details):
    details = open_details(everything())
    panel = details.select("/model")
    assert panel.entries.model().rowCount() == 2
    assert panel.heading.text().startswith("Modules and entries")
    details.session.index = build_index(details.checkpoint, grouped=False)
    details.session.indexed.emit()
    details.wait()
    assert panel.entries.model().rowCount() == 3
    assert panel.heading.text() == "Entries: 3"
    assert details.tabs.header.breadcrumb.texts == ["/", "model"]


def test_a_value_is_shown_as_text(open_details):
    details = open_details(everything())
    panel = details.select("/number")
    assert panel.text.toPlainText() == "3"
    assert panel.text.isReadOnly()
    assert not panel._warning_row.isVisible()


def test_a_dangerous_name_is_a_warning(open_details):
    details = open_details(everything(), globals=(GlobalUse("posix.system", "dangerous"),))
    panel = details.select("/object")
    assert "Nothing was run" in panel.warning.text()
    assert panel.warning.isVisible()


def test_an_unexpected_failure_is_a_sentence_too(open_details, monkeypatch, caplog):
    def broken(*args):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("ckpt_viewer.gui.panels.value.describe", broken)
    panel = open_details(everything()).select("/number")
    assert "did not expect (ZeroDivisionError: oh)" in panel.sentence


def test_storage_facts_survive_a_file_that_changed(open_details):
    details = open_details(mapping_of({"t": at(Changed(bytes(8)), (2,))}))
    panel = details.select("/t", "Storage")
    assert facts_of(panel.table)["stride"] == "1"


class Patient(Panel):
    title = "Patient"

    def show_subject(self, subject):
        self.begin("Reading …")


def test_a_panel_says_that_it_reads_only_after_a_moment(qtbot, open_details):
    details = open_details(everything())
    panel = Patient(details.session)
    qtbot.addWidget(panel)
    panel.show_subject(None)
    assert panel.sentence == ""
    assert not panel.is_settled
    qtbot.waitUntil(lambda: panel.sentence == "Reading …")
    with qtbot.waitSignal(panel.settled):
        panel.show_body()
        panel.settle()
    assert panel.sentence == ""


def test_every_control_has_an_accessible_name(open_details):
    from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QComboBox, QLineEdit, QPlainTextEdit, QSpinBox

    details = open_details(mapping_of({"t": made_from(np.zeros((2, 3, 4))), "n": 1, "d": mapping_of({"a": 1})}))
    for pointer, tab in (("/t", "Histogram"), ("/t", "Values"), ("/t", "Storage"), ("/n", ""), ("/d", "")):
        panel = details.select(pointer, tab)
        assert panel.accessibleName() == panel.title
        for kind in (QComboBox, QSpinBox, QPlainTextEdit, QAbstractItemView, QAbstractButton, QLineEdit):
            for control in panel.findChildren(kind):
                inside = isinstance(control.parent(), QComboBox | QSpinBox | QAbstractItemView)
                named = control.accessibleName() or getattr(control, "text", str)()
                if control.isVisible() and not inside and "qt_" not in control.objectName():
                    assert named, (panel.title, control)

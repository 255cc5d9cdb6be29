import re
import textwrap
from pathlib import Path

from baselines.families import BASELINES, PINNED_NAMES
from baselines.registry import describe, load_pinned
from suite.catalogue import about, catalogue, section
from suite.protocol import load_protocol, pinned_hash, run_spec


def test_every_baseline_is_in_it_with_the_hash_that_its_runs_have():
    made = catalogue()
    assert [info.name for info in made.baselines] == list(PINNED_NAMES)
    assert [info.name for info in made.shown_with(["pqn", "c51-bf16", "mine"]).baselines] == [*BASELINES, "c51-bf16"]
    assert len({info.config_hash for info in made.baselines}) == len(made.baselines)
    assert made.find("pqn-bf16").deviations_markdown == made.find("pqn").deviations_markdown
    spec = run_spec(load_pinned("pqn"), load_protocol("paper"), game="Pong", frames=10**6, seed=0)
    assert made.find("pqn").config_hash == spec.config_hash
    assert made.find("pqn").sources["discount"] == "official: GAMMA"
    assert made.protocol.values["frame_skip"] == 4


def test_each_baseline_says_what_it_is():
    made = catalogue()
    assert all(info.about_markdown for info in made.baselines)
    assert made.find("pqn").about_markdown.startswith("Parallelised Q-network: Gallici et al. 2025")
    assert made.find("pqn-bf16").about_markdown.startswith(made.find("pqn").about_markdown)
    assert made.find("pqn-bf16").about_markdown.endswith("in bf16, which no paper's protocol does.")
    assert "one part taken out (the paper's ablation)" in made.find("hadamax-pqn-relu").about_markdown
    assert about("pqn", Path("nowhere")) == ""


def test_deviations_are_the_section_of_that_name(tmp_path):
    page = tmp_path / "pqn.md"
    page.write_text(
        textwrap.dedent("""
            # PQN
            ## What it does
            Learns.
            ## Deviations from the official code

            1. **Seeds.** Spawned.
            2. Another.

            ## Known
            Nothing.
        """)
    )
    assert section(page, "Deviations") == "1. **Seeds.** Spawned.\n2. Another."


def test_no_page_or_no_such_section_is_an_empty_text(tmp_path):
    assert section(tmp_path / "none.md", "Deviations") == ""
    (tmp_path / "pqn.md").write_text("# PQN\n")
    assert section(tmp_path / "pqn.md", "Deviations") == ""


def test_the_real_page_of_pqn_is_found():
    assert "1. **Seeds of the environments.**" in catalogue().find("pqn").deviations_markdown


def test_a_second_protocol_has_hashes_of_its_own_and_says_what_differs_from_the_published_runs():
    paper, dopamine = catalogue(), catalogue("dopamine")
    assert (paper.other_protocols, dopamine.other_protocols) == (("dopamine",), ("paper",))
    for info in dopamine.baselines:
        assert info.config_hash == pinned_hash(describe(info.name), "dopamine") != paper.find(info.name).config_hash
    assert (paper.protocol.flag, dopamine.protocol.flag) == ("", " --protocol dopamine")
    assert paper.protocol.differences_markdown == ""
    numbers = re.findall(r"^([0-9]+)\. \*\*", dopamine.protocol.differences_markdown, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 14)]
